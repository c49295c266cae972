#include "tokenizer/normalize_table.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace fasttrain::tokenizer {
namespace {

#include "tokenizer/normalize_tables.inc"

constexpr std::size_t num_codes = 0x110000;

std::size_t utf8_bytes(std::uint32_t code) noexcept {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

// body(code, its codes) for each entry of `code, n, n codes`.
template <typename Body>
void each_mapping(std::span<const std::uint32_t> list, const Body& body) {
  for (std::size_t at = 0; at < list.size(); at += 2 + list[at + 1]) body(list[at], list.subspan(at + 2, list[at + 1]));
}

// body(code) for each in `first, last`.
template <typename Body>
void each_of(std::span<const std::uint32_t> list, const Body& body) {
  for (std::size_t at = 0; at < list.size(); at += 2)
    for (std::uint32_t code = list[at]; code <= list[at + 1]; ++code) body(code);
}

std::uint64_t pair_key(std::uint32_t first, std::uint32_t second) noexcept {
  return std::uint64_t{first} << 32 | second;
}

}  // namespace

const NormalizeTable& NormalizeTable::of(Normalization step) {
  static std::array<std::once_flag, num_normalizations> once;
  static std::array<std::unique_ptr<const NormalizeTable>, num_normalizations> tables;
  const auto k = static_cast<std::size_t>(step);
  std::call_once(once[k], [&] { tables[k].reset(new NormalizeTable(step)); });
  return *tables[k];
}

NormalizeTable::NormalizeTable(Normalization step) {
  std::vector<Char> flat(num_codes, any_);
  if (step <= Normalization::nfkd)
    read_form(step, flat);
  else
    read_step(step, flat);
  finish(flat);
}

void NormalizeTable::set_text(Char& c, std::span<const std::uint32_t> codes) {
  c.text = static_cast<std::uint32_t>(texts_.size());
  for (const std::uint32_t code : codes) {
    std::uint8_t bytes[4];
    texts_.insert(texts_.end(), bytes, put_code_point(code, bytes));
  }
  c.text_bytes = static_cast<std::uint8_t>(texts_.size() - c.text);
  c.flags = static_cast<std::uint8_t>((c.flags & ~plain) | changes | mapped);
}

void NormalizeTable::add_pairs() {
  pairs_.resize(std::size_t{1} << pair_bits);
  for (std::size_t at = 0; at < std::size(compositions); at += 3) {
    const std::uint64_t key = pair_key(compositions[at], compositions[at + 1]);
    std::size_t slot = key * 0x9E3779B97F4A7C15 >> (64 - pair_bits);
    while (pairs_[slot].key != 0) slot = (slot + 1) & (pairs_.size() - 1);
    pairs_[slot] = {key, compositions[at + 2]};
  }
}

std::uint32_t NormalizeTable::composed(std::uint32_t first, std::uint32_t second) const noexcept {
  using namespace hangul;
  if (first - lead < leads && is_vowel(second)) return hangul::first + ((first - lead) * vowels + second - vowel) * tails;
  if (first - hangul::first < count && (first - hangul::first) % tails == 0 && is_tail(second))
    return first + second - tail;
  const std::uint64_t key = pair_key(first, second);
  for (std::size_t slot = key * 0x9E3779B97F4A7C15 >> (64 - pair_bits); pairs_[slot].key != 0;
       slot = (slot + 1) & (pairs_.size() - 1))
    if (pairs_[slot].key == key) return pairs_[slot].code;
  return CodePoint::none;
}

void NormalizeTable::compose(std::vector<Part>& parts) const noexcept {
  constexpr std::size_t nowhere = ~std::size_t{0};
  std::size_t starter = nowhere, num = 0;
  for (const Part part : parts) {
    // Marks of the same class and characters of class 0 that stayed behind the starter are in the way.
    if (starter != nowhere && (num - 1 == starter || parts[num - 1].combining < part.combining)) {
      if (const std::uint32_t code = composed(parts[starter].code, part.code); code != CodePoint::none) {
        parts[starter].code = code;
        parts[starter].taken += part.taken;
        continue;
      }
    }
    if (part.combining == 0) starter = num;
    parts[num++] = part;
  }
  parts.resize(num);
}

void NormalizeTable::read_form(Normalization form, std::vector<Char>& flat) {
  has_context_ = true;
  composes_ = form == Normalization::nfc || form == Normalization::nfkc;
  for (std::size_t at = 0; at < std::size(combining); at += 3)
    for (std::uint32_t code = combining[at]; code <= combining[at + 1]; ++code)
      flat[code].combining = static_cast<std::uint8_t>(combining[at + 2]);
  std::vector<bool> is_second(num_codes);  // of a pair that composes
  if (composes_) {
    add_pairs();
    for (std::size_t at = 0; at < std::size(compositions); at += 3) is_second[compositions[at + 1]] = true;
    for (std::uint32_t v = 0; v < hangul::vowels; ++v) is_second[hangul::vowel + v] = true;
    for (std::uint32_t t = 1; t < hangul::tails; ++t) is_second[hangul::tail + t] = true;
  }
  const auto decompose = [&](std::uint32_t code, std::span<const std::uint32_t> codes) {
    Char& c = flat[code];
    c.parts = static_cast<std::uint32_t>(parts_.size());
    c.num_parts = static_cast<std::uint8_t>(codes.size());
    parts_.insert(parts_.end(), codes.begin(), codes.end());
  };
  each_mapping(canonical, decompose);
  if (form == Normalization::nfkc || form == Normalization::nfkd) each_mapping(compatible, decompose);
  for (std::uint32_t code = 0; code < num_codes; ++code) {
    Char& c = flat[code];
    if (code - hangul::first < hangul::count) {
      c.flags = syllable | opens | (composes_ ? plain : changes);
      continue;
    }
    const std::uint32_t first = c.num_parts ? parts_[c.parts] : code;
    if (c.combining || is_second[code]) c.flags &= static_cast<std::uint8_t>(~plain);
    if (flat[first].combining || is_second[first]) c.flags &= static_cast<std::uint8_t>(~opens);
    if (is_second[code]) c.flags |= changes;
    if (c.num_parts == 0) continue;
    // What it becomes alone: its parts are in order, and compose as they do in a text.
    std::vector<Part> made;
    std::size_t bytes = 0;
    for (const std::uint32_t part : std::span(parts_).subspan(c.parts, c.num_parts)) {
      made.push_back({part, flat[part].combining, 1});
      bytes += utf8_bytes(part);
    }
    growth_ = std::max(growth_, (bytes + utf8_bytes(code) - 1) / utf8_bytes(code));
    if (composes_) compose(made);
    std::vector<std::uint32_t> codes;
    for (const Part& part : made) codes.push_back(part.code);
    if (codes != std::vector{code}) set_text(c, codes);
  }
  if (!composes_) growth_ = std::max<std::size_t>(growth_, 3);  // a syllable of Hangul
}

void NormalizeTable::read_step(Normalization step, std::vector<Char>& flat) {
  const auto becomes = [&](std::span<const std::uint32_t> list, std::vector<std::uint32_t> codes) {
    each_of(list, [&](std::uint32_t code) { set_text(flat[code], codes); });
  };
  switch (step) {
    case Normalization::lowercase:
      each_mapping(lower_case, [&](std::uint32_t code, std::span<const std::uint32_t> to) { set_text(flat[code], to); });
      break;
    case Normalization::strip_accents: becomes(accents, {}); break;
    case Normalization::nmt: becomes(nmt_gone, {}), becomes(nmt_space, {' '}); break;
    case Normalization::bert_clean: becomes(bert_gone, {}), becomes(bert_space, {' '}); break;
    case Normalization::bert_accents: becomes(nonspacing, {}); break;
    default:
      each_of(chinese, [&](std::uint32_t code) { set_text(flat[code], std::array<std::uint32_t, 3>{' ', code, ' '}); });
  }
}

void NormalizeTable::finish(const std::vector<Char>& flat) {
  std::map<std::string, std::uint16_t> seen;
  for (std::size_t p = 0; p < page_.size(); ++p) {
    const Char* const begin = flat.data() + p * 256;
    const auto [it, is_new] = seen.emplace(std::string(reinterpret_cast<const char*>(begin), 256 * sizeof(Char)),
                                           static_cast<std::uint16_t>(seen.size()));
    if (is_new) pages_.insert(pages_.end(), begin, begin + 256);
    page_[p] = it->second;
  }
  for (std::uint32_t code = 0; code < num_codes; ++code) {
    const Char& c = flat[code];
    if (c.flags & plain) continue;
    std::uint8_t bytes[4];
    put_code_point(code, bytes);
    unsafe_.add(bytes[0]);
    growth_ = std::max(growth_, (c.text_bytes + utf8_bytes(code) - 1) / utf8_bytes(code));
  }
}

}  // namespace fasttrain::tokenizer
