#include "tokenizer/sentencepiece_normalize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/unicode_ln.h"

namespace fasttrain::tokenizer {
namespace {

constexpr std::uint8_t replacement_char[3] = {0xEF, 0xBF, 0xBD};
constexpr std::array<std::uint8_t, 4> escaped_space{0xE2, 0x96, 0x81, 0}, plain_space{' ', 0, 0, 0};
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
      space_(a.escape_whitespaces ? escaped_space : plain_space),
      space_bytes_(a.escape_whitespaces ? 3 : 1) {
  std::vector<ByteTrie::Key> keys;
  for (std::size_t k = 0; k < a.K; ++k) {
    const auto bytes = static_cast<std::uint32_t>(a.symbol_offsets[k + 1] - a.symbol_offsets[k]);
    if (bytes != 0) keys.push_back({symbol_data_.data() + a.symbol_offsets[k], bytes, 1, 0});
  }
  symbols_ = ByteTrie(std::move(keys));
  strings_.push_back(0);  // the last one ends too
  find_growth();
  find_pairs();
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

void SentencePieceNormalizer::find_pairs() {
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

void SentencePieceNormalizer::find_starts() {
  const auto is_printable = [](unsigned byte) { return byte >= 0x20 && byte < 0x7F; };
  std::vector<std::uint8_t> bytes;
  for (unsigned first = 0; first < 256; ++first) {
    for (unsigned second = 0; second < 256; ++second) {
      const unsigned pair = first << 8 | second;
      if ((pairs_[pair >> 6] >> (pair & 63) & 1) == 0) continue;
      if (!is_printable(first) || !is_printable(second))
        starts_.has_others = true;
      else if (bytes.empty() || bytes.back() != first)
        bytes.push_back(static_cast<std::uint8_t>(first));
    }
  }
  starts_.has_bytes = !bytes.empty();
  starts_.asks_all = bytes.size() > Starts::max_bytes;
  for (std::size_t k = 0; k < Starts::max_bytes && !bytes.empty(); ++k)
    starts_.bytes[k] = bytes[std::min(k, bytes.size() - 1)];
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
  return std::copy_n(space_.data(), space_bytes_, out);
}

bool SentencePieceNormalizer::begin(Progress& at) const noexcept {
  while (removes_extra_ && at.p < at.end) {
    const Prefix first = prefix(at.p, at.end);
    if (first.size != 1 || *first.data != ' ') break;
    at.p += first.taken;
  }
  if (at.p == at.end) return false;  // also a text of nothing but spaces
  if (adds_prefix_) at.out = put_space(at.out);
  at.drops_space = removes_extra_;
  return true;
}

bool SentencePieceNormalizer::step(Progress& at) const noexcept {
  if (*at.p == ' ' && !may_match(at.p, at.end)) {
    if (!at.drops_space) at.out = put_space(at.out);
    at.drops_space = removes_extra_;
    ++at.p;
    return true;
  }
  Prefix next = prefix(at.p, at.end);
  at.p += next.taken;
  for (; at.drops_space && next.size > 0 && *next.data == ' '; --next.size) ++next.data;
  if (next.size == 0) return true;
  const auto spaces = static_cast<std::size_t>(std::count(next.data, next.data + next.size, ' '));
  if (next.size + 2 * spaces > next.taken * growth_) return false;
  for (std::size_t i = 0; i < next.size; ++i) {
    if (next.data[i] == ' ')
      at.out = put_space(at.out);
    else
      *at.out++ = next.data[i];
  }
  at.drops_space = removes_extra_ && next.data[next.size - 1] == ' ';
  return true;
}

std::uint8_t* SentencePieceNormalizer::finish(Progress& at) const noexcept {
  const UnicodeClasses& u = unicode_classes();
  while (at.p < at.end) {
    const std::size_t bytes = *at.p == ' ' || may_match(at.p, at.end) ? 0
                              : *at.p < 0x80                          ? 1
                                                                      : valid_char(u, at.p, at.end);
    for (std::size_t i = 0; i < bytes; ++i) *at.out++ = *at.p++;
    if (bytes != 0)
      at.drops_space = false;
    else if (!step(at))
      return nullptr;
  }
  const auto bytes = static_cast<std::ptrdiff_t>(space_bytes_);
  std::uint8_t* out = at.out;
  while (removes_extra_ && out - at.start >= bytes && std::equal(out - bytes, out, space_.data()))
    out -= bytes;  // also U+2581 that the text itself ends in
  return adds_suffix_ ? put_space(out) : out;
}

namespace {

std::uint8_t* normalize_text(const SentencePieceNormalizer& m, const std::uint8_t* p, const std::uint8_t* end,
                             std::uint8_t* out) noexcept {
  SentencePieceNormalizer::Progress at{p, end, out, out, false};
  return m.begin(at) ? m.finish(at) : out;
}

}  // namespace

// Texts go in blocks of about equal bytes, each from its worst-case place on, and the blocks are closed up at the end:
// pages that nothing reaches are never touched.
void normalize_texts(const SentencePieceNormalizeArgs& a, NormalizeText one) noexcept {
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
      std::uint8_t* const stop = one(m, a.data + a.offsets[n], a.data + a.offsets[n + 1], out);
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

void sentencepiece_normalize_scalar(const SentencePieceNormalizeArgs& a) noexcept { normalize_texts(a, normalize_text); }

std::span<const Impl<SentencePieceNormalizeFn>> sentencepiece_normalize_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<SentencePieceNormalizeFn>, 3> impls{
      {{"avx512", Isa::avx512, sentencepiece_normalize_avx512},
       {"avx2", Isa::avx2, sentencepiece_normalize_avx2},
       {"scalar", Isa::any, sentencepiece_normalize_scalar}}};
#else
  static constexpr std::array<Impl<SentencePieceNormalizeFn>, 1> impls{
      {{"scalar", Isa::any, sentencepiece_normalize_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
