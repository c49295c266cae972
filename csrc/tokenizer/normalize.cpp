#include "tokenizer/normalize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/normalize_table.h"

namespace fasttrain::tokenizer {
namespace {

using Byte = std::uint8_t;
using Part = NormalizeTable::Part;

struct Stretch {
  const Byte *begin, *end;
};

// Where the character before p begins; `start` <= it.
const Byte* previous(const Byte* start, const Byte* p, const Byte* end) noexcept {
  for (std::ptrdiff_t back = 1; back <= std::min<std::ptrdiff_t>(4, p - start); ++back) {
    if ((p[-back] & 0xC0) == 0x80) continue;
    return code_point_at(p - back, end).bytes == static_cast<std::size_t>(back) ? p - back : p - 1;
  }
  return p - 1;
}

// The first stretch from p on that must be rewritten; both ends are `end` when there is none. `start`: what is before it
// is done.
Stretch next_stretch(const NormalizeTable& t, FindByte find, const Byte* start, const Byte* p, const Byte* end) noexcept {
  while (p < end) {
    if (!t.unsafe().has(*p)) {  // a space between words of such characters is not worth a call
      if (++p == end) break;
      if (!t.unsafe().has(*p) && (p = find(t.unsafe(), p + 1, end)) == end) break;
    }
    const CodePoint found = code_point_at(p, end);
    const NormalizeTable::Char* c = &t.at(found.code);
    const Byte* stop = p + found.bytes;
    if (c->flags & NormalizeTable::plain) {
      p = stop;
      continue;
    }
    bool is_normal = !(c->flags & NormalizeTable::changes);
    const bool opens = c->flags & NormalizeTable::opens;
    for (std::uint32_t last = c->combining; t.has_context() && stop < end; last = c->combining) {
      const CodePoint next = code_point_at(stop, end);
      c = &t.at(next.code);
      if (c->flags & NormalizeTable::opens) break;
      is_normal = is_normal && !(c->flags & NormalizeTable::changes) && (c->combining == 0 || c->combining >= last);
      stop += next.bytes;
    }
    if (!is_normal) return {opens || p == start ? p : previous(start, p, end), stop};
    p = stop;
  }
  return {end, end};
}

// What the texts of one worker are made with.
struct Writer {
  const NormalizeTable& table;
  const Byte* text;  // the text's begin
  Byte* out;
  std::int64_t* source;  // of the next byte of out; or none
  std::vector<Part> parts, sorted;

  void copy(const Byte* begin, const Byte* end) {
    if (begin == end) return;
    std::memcpy(out, begin, static_cast<std::size_t>(end - begin));
    out += end - begin;
    while (source && begin < end) {
      const std::size_t bytes = code_point_at(begin, end).bytes;
      source = std::fill_n(source, bytes, begin - text);
      begin += bytes;
    }
  }
  void put(std::uint32_t code, std::int64_t from) {
    Byte* const stop = put_code_point(code, out);
    if (source) source = std::fill_n(source, stop - out, from);
    out = stop;
  }
  void alone(const NormalizeTable::Char& c, const Byte* from) {
    if (c.text_bytes == 0) return;  // left out
    std::memcpy(out, table.text(c), c.text_bytes);
    out += c.text_bytes;
    if (source) source = std::fill_n(source, c.text_bytes, from - text);
  }
  void decompose(std::uint32_t code, const NormalizeTable::Char& c) {
    if (c.flags & NormalizeTable::syllable) {
      const hangul::Parts jamo(code);
      for (std::size_t k = 0; k < jamo.num; ++k) parts.push_back({jamo.code[k], 0, k == 0});
    } else if (c.num_parts == 0) {
      parts.push_back({code, c.combining, 1});
    } else {
      const std::uint32_t* part = table.parts(c);
      for (std::size_t i = 0; i < c.num_parts; ++i)
        parts.push_back({part[i], table.at(part[i]).combining, i == 0});
    }
  }
  bool compose_all(Stretch, const CodePoint&, const NormalizeTable::Char&);
  void sort();
  void rewrite(Stretch);
};

// Each run of marks by class, those of one class as they came. Runs are short; a long one is counted, not compared.
void Writer::sort() {
  for (std::size_t begin = 0, end; begin < parts.size(); begin = end + 1) {
    for (end = begin; end < parts.size() && parts[end].combining != 0; ++end) {}
    const auto first = parts.begin() + static_cast<std::ptrdiff_t>(begin), last = parts.begin() + static_cast<std::ptrdiff_t>(end);
    if (end - begin <= 32) {
      for (auto at = first; at < last; ++at) {
        const Part part = *at;
        auto to = at;
        for (; to > first && to[-1].combining > part.combining; --to) *to = to[-1];
        *to = part;
      }
      continue;
    }
    std::array<std::size_t, 257> place{};
    for (auto at = first; at < last; ++at) ++place[at->combining + 1];
    for (std::size_t k = 1; k < place.size(); ++k) place[k] += place[k - 1];
    sorted.resize(end - begin);
    for (auto at = first; at < last; ++at) sorted[place[at->combining]++] = *at;
    std::copy(sorted.begin(), sorted.end(), first);
  }
}

// A character and what composes with it one by one, in order, as most stretches are; false: this is another one.
bool Writer::compose_all(Stretch stretch, const CodePoint& first, const NormalizeTable::Char& c) {
  if (!(c.flags & NormalizeTable::plain) || first.code == CodePoint::none) return false;
  std::uint32_t code = first.code, last = c.num_parts ? table.at(table.parts(c)[c.num_parts - 1]).combining : 0;
  for (const Byte* p = stretch.begin + first.bytes; p < stretch.end;) {
    const CodePoint next = code_point_at(p, stretch.end);
    const NormalizeTable::Char& mark = table.at(next.code);
    if (mark.combining < last || (mark.flags & NormalizeTable::mapped)) return false;
    code = table.composed(code, next.code);
    if (code == CodePoint::none) return false;
    last = mark.combining;
    p += next.bytes;
  }
  put(code, stretch.begin - text);
  return true;
}

void Writer::rewrite(Stretch stretch) {
  const auto [begin, end] = stretch;
  const CodePoint first = code_point_at(begin, end);
  const NormalizeTable::Char& c = table.at(first.code);
  if (begin + first.bytes == end) {
    if (c.flags & NormalizeTable::mapped) return alone(c, begin);
    if (c.flags & NormalizeTable::syllable) {
      const hangul::Parts jamo(first.code);
      for (std::size_t k = 0; k < jamo.num; ++k) put(jamo.code[k], begin - text);
      return;
    }
  } else if (table.composes() && compose_all(stretch, first, c)) {
    return;
  }
  parts.clear();
  // Byte by byte what is no UTF-8 is itself, and lies in no stretch but as its first character.
  const bool keeps_byte = first.code == CodePoint::none;
  if (keeps_byte) copy(begin, begin + 1);
  const Byte* const decoded = begin + keeps_byte;
  for (const Byte* p = decoded; p < end;) {
    const CodePoint next = code_point_at(p, end);
    decompose(next.code, table.at(next.code));
    p += next.bytes;
  }
  sort();
  if (table.composes()) table.compose(parts);
  // What stands for no character of the text comes, to tokenizers, from the one before the next one's place.
  const Byte* at = decoded;
  for (const Part& part : parts) {
    std::int64_t from = at - text;
    if (source && !part.taken) from = at == text ? -1 : previous(text, at, end) - text;
    put(part.code, from);
    for (std::int64_t k = 0; source && k < part.taken; ++k) at += code_point_at(at, end).bytes;
  }
}

}  // namespace

// A pass that only looks, then one that writes from the first change on: most texts change nowhere. They go in blocks of
// about equal counts, each from its worst-case place on, closed up at the end: what nothing reaches is never touched.
void normalize_texts(const NormalizeArgs& a, FindByte find) noexcept {
  const NormalizeTable& t = NormalizeTable::of(a.step);
  const std::size_t blocks = a.threads > 1 ? std::min<std::size_t>(a.N, 8 * static_cast<std::size_t>(a.threads)) : 1;
  const auto begin_of = [&](std::size_t b) { return a.N * b / blocks; };
  std::atomic<bool> is_changed{false};
  parallel_for(blocks, a.threads, [&](std::size_t b) {
    for (std::size_t n = begin_of(b); n < begin_of(b + 1); ++n) {
      const Byte *begin = a.data + a.offsets[n], *end = a.data + a.offsets[n + 1];
      const Byte* const first = next_stretch(t, find, begin, begin, end).begin;
      a.ends[n + 1] = first - begin;
      if (first < end) is_changed = true;
    }
  });
  a.ends[0] = 0;
  if (!is_changed && !a.source) {
    a.ends[a.N] = -1;
    return;
  }
  const auto place = [&](std::size_t n) { return static_cast<std::size_t>(a.offsets[n] - a.offsets[0]) * t.growth(); };
  parallel_for(blocks, a.threads, [&](std::size_t b) {
    const std::size_t from = place(begin_of(b));
    Writer w{t, nullptr, a.out + from, a.source ? a.source + from : nullptr, {}, {}};
    for (std::size_t n = begin_of(b); n < begin_of(b + 1); ++n) {
      const Byte *const begin = a.data + a.offsets[n], *const end = a.data + a.offsets[n + 1];
      const Byte* done = begin;
      Byte* const made = w.out;
      w.text = begin;
      for (const Byte* p = begin + a.ends[n + 1]; p < end; p = done) {  // as far as the first pass came
        const Stretch next = next_stretch(t, find, done, p, end);
        w.copy(done, next.begin);
        if (next.begin < end) w.rewrite(next);
        done = next.end;
      }
      w.copy(done, end);
      a.ends[n + 1] = w.out - made;
    }
  });
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t begin = begin_of(b), stop = begin_of(b + 1);
    for (std::size_t n = begin; n < stop; ++n) a.ends[n + 1] += a.ends[n];
    if (b == 0 || begin == stop) continue;
    const auto bytes = static_cast<std::size_t>(a.ends[stop] - a.ends[begin]);
    if (bytes == 0) continue;
    std::memmove(a.out + a.ends[begin], a.out + place(begin), bytes);
    if (a.source) std::memmove(a.source + a.ends[begin], a.source + place(begin), bytes * sizeof(std::int64_t));
  }
}

std::size_t normalize_growth(Normalization step) { return NormalizeTable::of(step).growth(); }

void normalize_scalar(const NormalizeArgs& a) noexcept { normalize_texts(a, find_byte); }

std::span<const Impl<NormalizeFn>> normalize_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<NormalizeFn>{"avx2", Isa::avx2, normalize_avx2},
#endif
      Impl<NormalizeFn>{"scalar", Isa::any, normalize_scalar}};
  return impls;
}

}  // namespace fasttrain::tokenizer
