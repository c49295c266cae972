#include "tokenizer/sentencepiece_normalize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/unicode_ln.h"

namespace fasttrain::tokenizer {
namespace {

constexpr std::uint8_t replacement_char[3] = {0xEF, 0xBF, 0xBD}, escaped_space[3] = {0xE2, 0x96, 0x81};
constexpr std::uint32_t nowhere = 0xFFFFFFFF;

// Bytes of the character at p; 0: none begins there.
std::size_t valid_char(const UnicodeClasses& u, const std::uint8_t* p, const std::uint8_t* end) noexcept {
  const std::size_t bytes = decode_at(u, p, end).bytes;
  return bytes == 1 && *p >= 0x80 ? 0 : bytes;
}

}  // namespace

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceNormalizerArgs& a)
    : units_(a.units, a.units + a.U),
      strings_(a.strings, a.strings + a.R),
      symbol_data_(a.symbol_data, a.symbol_data + (a.K ? a.symbol_offsets[a.K] : 0)),
      adds_prefix_(a.add_dummy_prefix && !a.whitespace_as_suffix),
      adds_suffix_(a.add_dummy_prefix && a.whitespace_as_suffix),
      removes_extra_(a.remove_extra_whitespaces),
      escapes_(a.escape_whitespaces) {
  std::vector<ByteTrie::Key> keys;
  for (std::size_t k = 0; k < a.K; ++k) {
    const auto bytes = static_cast<std::uint32_t>(a.symbol_offsets[k + 1] - a.symbol_offsets[k]);
    if (bytes != 0) keys.push_back({symbol_data_.data() + a.symbol_offsets[k], bytes, 1, 0});
  }
  symbols_ = ByteTrie(std::move(keys));
  strings_.push_back(0);  // the last one ends too
  find_growth();
  find_starts();
}

// The place behind one of this base by `byte`; nowhere.
std::uint32_t SentencePieceNormalizer::step(std::uint32_t base, std::uint8_t byte) const noexcept {
  const std::uint32_t at = base ^ byte;
  return at < units_.size() && (units_[at] & 0x800000FF) == byte ? at : nowhere;
}

SentencePieceNormalizer::Prefix SentencePieceNormalizer::replacement(std::uint32_t value,
                                                                     std::size_t taken) const noexcept {
  const std::size_t at = std::min<std::size_t>(value, strings_.size() - 1);
  const std::uint8_t* data = strings_.data() + at;
  return {data, static_cast<std::size_t>(std::find(data, strings_.data() + strings_.size(), 0) - data), taken};
}

void SentencePieceNormalizer::find_growth() {
  if (units_.empty()) return;
  struct Place {
    std::uint32_t base, depth;
  };
  std::vector<Place> todo{{offset(units_[0]), 0}};
  std::vector<bool> is_seen(units_.size());  // a damaged map may lead in circles
  while (!todo.empty()) {
    const Place place = todo.back();
    todo.pop_back();
    for (unsigned byte = 1; byte < 256; ++byte) {
      const std::uint32_t at = step(place.base, static_cast<std::uint8_t>(byte));
      if (at == nowhere || is_seen[at]) continue;
      is_seen[at] = true;
      const std::uint32_t base = at ^ offset(units_[at]);
      todo.push_back({base, place.depth + 1});
      if ((units_[at] >> 8 & 1) == 0 || base >= units_.size()) continue;
      const Prefix found = replacement(units_[base] & 0x7FFFFFFF, place.depth + 1);
      const auto spaces = static_cast<std::size_t>(std::count(found.data, found.data + found.size, ' '));
      growth_ = std::max(growth_, (found.size + 2 * spaces + found.taken - 1) / found.taken);
    }
  }
}

void SentencePieceNormalizer::find_starts() {
  for (unsigned first = 0; first < 256; ++first) {
    const auto a = static_cast<std::uint8_t>(first);
    const ByteTrie::Node* symbol = symbols_.child(symbols_.root(), a);
    const std::uint32_t at = units_.empty() ? nowhere : step(offset(units_[0]), a);
    single_[first] = (symbol && symbol->value != ByteTrie::none) || (at != nowhere && (units_[at] >> 8 & 1));
    for (unsigned second = 0; second < 256; ++second) {
      const auto b = static_cast<std::uint8_t>(second);
      const bool goes_on = (symbol && symbols_.child(symbol->base, b)) ||
                           (at != nowhere && step(at ^ offset(units_[at]), b) != nowhere);
      const unsigned pair = first << 8 | second;
      if (single_[first] || goes_on) pairs_[pair >> 6] |= std::uint64_t{1} << (pair & 63);
    }
  }
}

SentencePieceNormalizer::Prefix SentencePieceNormalizer::prefix(const std::uint8_t* p,
                                                                const std::uint8_t* end) const noexcept {
  std::size_t longest = 0;
  const ByteTrie::Node* node;
  std::uint32_t base = symbols_.root();
  for (const std::uint8_t* q = p; q < end && (node = symbols_.child(base, *q)) != nullptr; base = node->base) {
    ++q;
    if (node->value != ByteTrie::none) longest = static_cast<std::size_t>(q - p);
  }
  if (longest != 0) return {p, longest, longest};
  std::uint32_t value = 0;
  base = units_.empty() ? nowhere : offset(units_[0]);
  for (const std::uint8_t* q = p; q < end;) {
    const std::uint32_t at = step(base, *q++);
    if (at == nowhere) break;
    base = at ^ offset(units_[at]);
    if ((units_[at] >> 8 & 1) == 0 || base >= units_.size()) continue;
    longest = static_cast<std::size_t>(q - p);
    value = units_[base] & 0x7FFFFFFF;
  }
  if (longest != 0) return replacement(value, longest);
  const std::size_t bytes = valid_char(unicode_classes(), p, end);
  return bytes == 0 ? Prefix{replacement_char, 3, 1} : Prefix{p, bytes, bytes};
}

std::uint8_t* SentencePieceNormalizer::put_space(std::uint8_t* out) const noexcept {
  if (!escapes_) {
    *out = ' ';
    return out + 1;
  }
  std::memcpy(out, escaped_space, 3);
  return out + 3;
}

std::uint8_t* SentencePieceNormalizer::normalize(const std::uint8_t* p, const std::uint8_t* end,
                                                 std::uint8_t* out) const noexcept {
  const UnicodeClasses& u = unicode_classes();
  std::uint8_t* const start = out;
  while (removes_extra_ && p < end) {
    const Prefix first = prefix(p, end);
    if (first.size != 1 || *first.data != ' ') break;
    p += first.taken;
  }
  if (p == end) return out;  // also a text of nothing but spaces
  if (adds_prefix_) out = put_space(out);
  bool drops_space = removes_extra_;  // the last one written is a space, or nothing is
  while (p < end) {
    if (!may_match(p, end)) {
      if (*p == ' ') {
        if (!drops_space) out = put_space(out);
        drops_space = removes_extra_;
        ++p;
        continue;
      }
      if (const std::size_t bytes = *p < 0x80 ? 1 : valid_char(u, p, end)) {
        for (std::size_t i = 0; i < bytes; ++i) *out++ = *p++;
        drops_space = false;
        continue;
      }
    }
    Prefix next = prefix(p, end);
    p += next.taken;
    for (; drops_space && next.size > 0 && *next.data == ' '; --next.size) ++next.data;
    if (next.size == 0) continue;
    const auto spaces = static_cast<std::size_t>(std::count(next.data, next.data + next.size, ' '));
    if (next.size + 2 * spaces > next.taken * growth_) return nullptr;
    for (std::size_t i = 0; i < next.size; ++i) {
      if (next.data[i] == ' ')
        out = put_space(out);
      else
        *out++ = next.data[i];
    }
    drops_space = removes_extra_ && next.data[next.size - 1] == ' ';
  }
  const std::ptrdiff_t space_bytes = escapes_ ? 3 : 1;
  const std::uint8_t* const space = escapes_ ? escaped_space : reinterpret_cast<const std::uint8_t*>(" ");
  while (removes_extra_ && out - start >= space_bytes && std::equal(space, space + space_bytes, out - space_bytes))
    out -= space_bytes;  // also U+2581 that the text itself ends in
  return adds_suffix_ ? put_space(out) : out;
}

// Texts go in blocks of about equal bytes, each from its worst-case place on, and the blocks are closed up at the end:
// pages that nothing reaches are never touched.
void sentencepiece_normalize_scalar(const SentencePieceNormalizeArgs& a) noexcept {
  const SentencePieceNormalizer& m = *a.normalizer;
  const std::size_t blocks = a.threads > 1 ? std::min<std::size_t>(a.N, 8 * static_cast<std::size_t>(a.threads)) : 1;
  const auto begin_of = [&](std::size_t b) { return a.N * b / blocks; };
  const auto place = [&](std::size_t n) {
    return a.out + static_cast<std::size_t>(a.offsets[n] - a.offsets[0]) * m.growth() +
           n * SentencePieceNormalizer::room_bytes;
  };
  std::atomic<bool> is_damaged{false};
  parallel_for(blocks, a.threads, [&](std::size_t b) {
    std::uint8_t* out = place(begin_of(b));
    for (std::size_t n = begin_of(b); n < begin_of(b + 1) && !is_damaged; ++n) {
      std::uint8_t* const stop = m.normalize(a.data + a.offsets[n], a.data + a.offsets[n + 1], out);
      if (stop == nullptr) {
        is_damaged = true;
        break;
      }
      a.ends[n + 1] = stop - out;
      out = stop;
    }
  });
  a.ends[0] = 0;
  if (is_damaged) {
    a.ends[a.N] = -1;
    return;
  }
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t begin = begin_of(b), stop = begin_of(b + 1);
    for (std::size_t n = begin; n < stop; ++n) a.ends[n + 1] += a.ends[n];
    if (b > 0 && begin < stop)
      std::memmove(a.out + a.ends[begin], place(begin), static_cast<std::size_t>(a.ends[stop] - a.ends[begin]));
  }
}

std::span<const Impl<SentencePieceNormalizeFn>> sentencepiece_normalize_impls() {
  static constexpr std::array<Impl<SentencePieceNormalizeFn>, 1> impls{
      {{"scalar", Isa::any, sentencepiece_normalize_scalar}}};
  return impls;
}

}  // namespace fasttrain::tokenizer
