#include "tokenizer/sentencepiece_merges.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {
namespace {

constexpr std::uint8_t normal = 1;
constexpr std::uint8_t space[3] = {0xE2, 0x96, 0x81};  // U+2581

}  // namespace

bool SentencePieceMerges::applies(const SentencePieceModel& m) {
  for (std::size_t i = 0; i < m.kinds.size(); ++i) {
    if (m.text(i).empty()) continue;
    if (m.kinds[i] != normal && m.kinds[i] != SentencePieceModel::user_defined) return false;
    if (!(m.scores[i] == m.scores[i])) return false;  // not a number
  }
  return m.kinds.size() < (1 << 20);  // what a slot of the table of pairs holds
}

void SentencePieceMerges::add_characters(const SentencePieceModel& m) {
  std::map<std::string, std::size_t> chars;  // and in how many places of pieces
  for (std::size_t i = 0; i < m.kinds.size(); ++i) {
    const std::string_view text = m.text(i);
    const auto* p = reinterpret_cast<const std::uint8_t*>(text.data());
    for (const std::uint8_t* end = p + text.size(); p < end;) {
      const std::size_t bytes = char_bytes(p, end);
      ++chars[{reinterpret_cast<const char*>(p), bytes}];
      p += bytes;
    }
  }
  std::vector<std::pair<std::size_t, std::string>> frequent;
  for (const auto& [text, count] : chars) frequent.emplace_back(count, text);
  std::stable_sort(frequent.begin(), frequent.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::map<std::string, std::uint32_t> numbers;
  for (std::size_t k = 0; k < frequent.size() && k < no_number; ++k)
    numbers.emplace(frequent[k].second, static_cast<std::uint32_t>(k));
  for (const auto& [text, count] : chars) char_data_.insert(char_data_.end(), text.begin(), text.end());
  std::vector<ByteTrie::Key> keys;
  std::size_t at = 0;
  auto next = static_cast<std::uint32_t>(m.kinds.size());
  for (const auto& [text, count] : chars) {
    const std::uint8_t* data = char_data_.data() + at;
    const std::uint32_t id = m.find(data, text.size());
    const auto number = numbers.find(text);
    keys.push_back({data, static_cast<std::uint32_t>(text.size()), id == SentencePieceModel::none ? next++ : id,
                    number == numbers.end() ? no_number : number->second});
    at += text.size();
  }
  chars_ = ByteTrie(std::move(keys));
  for (std::size_t b = 0; b < of_byte_.size(); ++b) {
    const auto byte = static_cast<std::uint8_t>(b);
    of_byte_[b] = character(&byte, 1);
  }
  space_ = character(space, 3);
}

// A rank for each score, the best one first.
void SentencePieceMerges::add_ranks(const SentencePieceModel& m) {
  std::vector<std::uint32_t> ids;
  for (std::size_t i = 0; i < m.kinds.size(); ++i)
    if (!m.text(i).empty() && m.kinds[i] == normal) ids.push_back(static_cast<std::uint32_t>(i));
  std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return m.scores[a] > m.scores[b]; });
  rank_of_id_.assign(m.kinds.size(), no_rank);
  for (std::size_t k = 0; k < ids.size(); ++k) {
    if (k > 0 && m.scores[ids[k]] == m.scores[ids[k - 1]])
      id_of_rank_.back() = several;
    else
      id_of_rank_.push_back(ids[k]);
    rank_of_id_[ids[k]] = static_cast<std::uint32_t>(id_of_rank_.size() - 1);
  }
}

void SentencePieceMerges::add_pairs(const SentencePieceModel& m) {
  std::vector<std::uint32_t> pairs, ranks;
  const auto part = [&](const std::uint8_t* p, const std::uint8_t* end) -> Char {
    const auto bytes = static_cast<std::size_t>(end - p);
    if (char_bytes(p, end) == bytes) return character(p, bytes);
    const std::uint32_t id = m.find(p, bytes);
    return {id == SentencePieceModel::none ? no_symbol : id, no_number};
  };
  for (std::size_t i = 0; i < m.kinds.size(); ++i) {
    const std::uint32_t rank = rank_of_id_[i];
    if (rank == no_rank) continue;
    const std::string_view text = m.text(i);
    const auto* begin = reinterpret_cast<const std::uint8_t*>(text.data());
    const std::uint8_t* end = begin + text.size();
    for (const std::uint8_t* cut = begin + char_bytes(begin, end); cut < end; cut += char_bytes(cut, end)) {
      const Char left = part(begin, cut), right = part(cut, end);
      if (left.symbol == no_symbol || right.symbol == no_symbol) continue;
      pairs.insert(pairs.end(), {left.symbol, right.symbol});
      ranks.push_back(rank);
      if (left.number != no_number && right.number != no_number) first_ranks_[left.number << 8 | right.number] = rank;
    }
  }
  pairs_ = PairTable(pairs.data(), ranks.data(), ranks.size());
}

SentencePieceMerges::SentencePieceMerges(const SentencePieceModel& m) {
  add_characters(m);
  first_ranks_.assign(256 * 256, no_rank);
  if (m.has_list) {
    add_listed(m);
  } else {
    add_ranks(m);
    add_pairs(m);
  }
}

void SentencePieceMerges::add_listed(const SentencePieceModel& m) {
  const std::size_t num = m.listed_results.size();
  id_of_rank_ = m.listed_results;
  rank_of_id_.assign(m.kinds.size(), no_rank);
  std::vector<std::uint32_t> ranks(num);
  std::vector<std::uint8_t> numbers(m.kinds.size(), no_number);
  for (std::size_t i = 0; i < m.kinds.size(); ++i) {
    const std::string_view text = m.text(i);
    const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
    if (!text.empty() && char_bytes(at, at + text.size()) == text.size()) numbers[i] = character(at, text.size()).number;
  }
  for (std::size_t k = 0; k < num; ++k) {
    const std::uint32_t left = m.listed_pairs[2 * k], right = m.listed_pairs[2 * k + 1];
    ranks[k] = static_cast<std::uint32_t>(k);
    rank_of_id_[m.listed_results[k]] = ranks[k];
    if (numbers[left] != no_number && numbers[right] != no_number)
      first_ranks_[numbers[left] << 8 | numbers[right]] = ranks[k];
  }
  pairs_ = PairTable(m.listed_pairs.data(), ranks.data(), num);
}

SentencePieceMerges::Char SentencePieceMerges::character(const std::uint8_t* at, std::size_t bytes) const noexcept {
  std::uint32_t base = chars_.root();
  const ByteTrie::Node* node = nullptr;
  for (std::size_t i = 0; i < bytes; ++i) {
    node = chars_.child(base, at[i]);
    if (node == nullptr) return {no_symbol, no_number};
    base = node->base;
  }
  if (node->value == ByteTrie::none) return {no_symbol, no_number};
  return {node->value, static_cast<std::uint8_t>(node->extra)};
}

SentencePieceMerges::Char SentencePieceMerges::next_character(const std::uint8_t*& at,
                                                              const std::uint8_t* end) const noexcept {
  const std::uint8_t* const p = at;
  if (*p < 0x80) {
    ++at;
    return of_byte_[*p];
  }
  if (end - p >= 3 && std::memcmp(p, space, 3) == 0) {
    at += 3;
    return space_;
  }
  at += char_bytes(p, end);
  return character(p, static_cast<std::size_t>(at - p));
}

bool SentencePieceMerges::prepare(const SentencePieceModel& m, const std::uint8_t* at, const std::uint8_t* end,
                                  Symbols& s) const noexcept {
  std::uint8_t numbers[max_symbols];
  std::size_t n = 0;
  for (const std::uint8_t* p = at; p < end; ++n) {
    if (n == max_symbols || (m.may_be_symbol(p, end) && m.symbol(p, end) != 0)) return false;
    s.starts[n] = static_cast<std::uint16_t>(p - at);
    const Char c = next_character(p, end);
    s.ids[n + 1] = c.symbol;
    numbers[n] = c.number;
  }
  s.n = n;
  s.bytes = static_cast<std::size_t>(end - at);
  s.at = at;
  s.ids[0] = s.ids[max_symbols + 1] = no_symbol;
  for (std::size_t i = 0; i + 1 < n; ++i) {
    const bool are_numbered = numbers[i] != no_number && numbers[i + 1] != no_number;
    s.ranks[i] = are_numbered ? first_ranks_[numbers[i] << 8 | numbers[i + 1]] : pairs_.rank(s.ids[i + 1], s.ids[i + 2]);
  }
  for (std::size_t i = n - 1; i < (n + 15) / 16 * 16; ++i) s.ranks[i] = no_rank;
  if (n > 32) std::fill(s.ranks + n, s.ranks + max_symbols + 1, no_rank);
  return true;
}

std::uint32_t SentencePieceMerges::find(const SentencePieceModel& m, const Symbols& s, std::size_t i,
                                        std::size_t next) const noexcept {
  return m.find(s.at + s.start(i), s.start(next) - s.start(i));
}

std::size_t SentencePieceMerges::emit(const SentencePieceModel& m, const Symbols& s, std::size_t i, std::size_t next,
                                      std::uint32_t* out) const noexcept {
  const std::uint32_t id = s.ids[i + 1] < m.kinds.size() ? s.ids[i + 1] : m.unk_id;
  return emit_piece(m, id, s.at + s.start(i), s.start(next) - s.start(i), out);
}

std::size_t SentencePieceMerges::merge(const SentencePieceModel& m, Symbols& s, std::uint32_t* out) const noexcept {
  std::uint32_t* symbols = s.ids + 1;
  while (s.n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < s.n; ++i)
      if (s.ranks[i] < s.ranks[best]) best = i;
    if (s.ranks[best] == no_rank) break;
    symbols[best] = merged(m, s.ranks[best], s, best, best + 2);
    --s.n;
    for (std::size_t i = best + 1; i < s.n; ++i) symbols[i] = symbols[i + 1], s.starts[i] = s.starts[i + 1];
    for (std::size_t i = best; i + 1 < s.n; ++i) s.ranks[i] = s.ranks[i + 1];
    if (best > 0) s.ranks[best - 1] = pairs_.rank(symbols[best - 1], symbols[best]);
    if (best + 1 < s.n) s.ranks[best] = pairs_.rank(symbols[best], symbols[best + 1]);
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < s.n; ++i) count += emit(m, s, i, i + 1, out + count);
  return count;
}

std::size_t SentencePieceMerges::encode_long(const SentencePieceModel& m, const std::uint8_t* at,
                                             const std::uint8_t* end, std::uint32_t* out) const {
  struct Symbol {
    std::uint32_t id, bytes;
    std::int64_t previous, next;
  };
  struct Pair {
    std::uint32_t rank, left_id, right_id;
    std::int64_t left;
    bool operator<(const Pair& other) const noexcept {  // of a heap whose top merges next
      return rank > other.rank || (rank == other.rank && left > other.left);
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Pair> agenda;
  for (const std::uint8_t* p = at; p < end;) {
    const std::uint8_t* const begin = p;
    const Char c = next_character(p, end);
    const auto here = static_cast<std::int64_t>(symbols.size());
    symbols.push_back({c.symbol, static_cast<std::uint32_t>(p - begin), here - 1, here + 1});
  }
  symbols.back().next = -1;
  const auto offer = [&](std::int64_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const std::uint32_t l = symbols[left].id, r = symbols[symbols[left].next].id;
    if (const std::uint32_t rank = pairs_.rank(l, r); rank != no_rank) {
      agenda.push_back({rank, l, r, left});
      std::push_heap(agenda.begin(), agenda.end());
    }
  };
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) offer(static_cast<std::int64_t>(i));
  while (!agenda.empty()) {
    std::pop_heap(agenda.begin(), agenda.end());
    const Pair top = agenda.back();
    agenda.pop_back();
    Symbol& left = symbols[top.left];
    if (left.bytes == 0 || left.next < 0 || left.id != top.left_id || symbols[left.next].id != top.right_id) continue;
    Symbol& right = symbols[left.next];
    left.id = id_of_rank_[top.rank];
    left.bytes += right.bytes;
    right.bytes = 0;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].previous = top.left;
    offer(left.previous);
    offer(top.left);
  }
  std::size_t count = 0;
  for (std::int64_t i = 0; i >= 0; i = symbols[i].next) {
    const std::uint32_t id = symbols[i].id < m.kinds.size() ? symbols[i].id : m.unk_id;
    count += emit_piece(m, id, at, symbols[i].bytes, out + count);
    at += symbols[i].bytes;
  }
  return count;
}

}  // namespace fasttrain::tokenizer
