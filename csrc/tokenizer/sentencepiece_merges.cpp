#include "tokenizer/sentencepiece_merges.h"

#include <algorithm>
#include <set>
#include <string>

#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {
namespace {

constexpr std::uint8_t normal = 1;

}  // namespace

bool SentencePieceMerges::applies(const SentencePieceModel& m) {
  std::vector<float> scores;
  for (std::size_t i = 0; i < m.kinds.size(); ++i) {
    const bool is_text = !m.text(i).empty();
    if (is_text && m.kinds[i] != normal) return false;
    if (is_text && !(m.scores[i] == m.scores[i])) return false;  // not a number
    if (is_text) scores.push_back(m.scores[i]);
  }
  std::sort(scores.begin(), scores.end());
  // What a slot of the table of pairs holds.
  return m.kinds.size() < (1 << 20) && std::adjacent_find(scores.begin(), scores.end()) == scores.end();
}

void SentencePieceMerges::add_characters(const SentencePieceModel& m) {
  std::set<std::string> chars;
  for (std::size_t i = 0; i < m.kinds.size(); ++i) {
    const std::string_view text = m.text(i);
    const auto* p = reinterpret_cast<const std::uint8_t*>(text.data());
    for (const std::uint8_t* end = p + text.size(); p < end;) {
      const std::size_t bytes = char_bytes(p, end);
      chars.emplace(reinterpret_cast<const char*>(p), bytes);
      p += bytes;
    }
  }
  std::vector<ByteTrie::Key> keys;
  std::size_t at = 0;
  for (const std::string& text : chars) char_data_.insert(char_data_.end(), text.begin(), text.end());
  auto next = static_cast<std::uint32_t>(m.kinds.size());
  for (const std::string& text : chars) {
    const std::uint8_t* data = char_data_.data() + at;
    const std::uint32_t id = m.find(data, text.size());
    keys.push_back({data, static_cast<std::uint32_t>(text.size()), id == SentencePieceModel::none ? next++ : id, 0});
    at += text.size();
  }
  chars_ = ByteTrie(std::move(keys));
  for (std::size_t b = 0; b < of_byte_.size(); ++b) {
    const auto byte = static_cast<std::uint8_t>(b);
    of_byte_[b] = symbol(&byte, 1);
  }
}

SentencePieceMerges::SentencePieceMerges(const SentencePieceModel& m) {
  add_characters(m);
  for (std::size_t i = 0; i < m.kinds.size(); ++i)
    if (!m.text(i).empty()) id_of_rank_.push_back(static_cast<std::uint32_t>(i));
  std::sort(id_of_rank_.begin(), id_of_rank_.end(), [&](auto a, auto b) { return m.scores[a] > m.scores[b]; });
  std::vector<std::uint32_t> pairs, ranks;
  const auto part = [&](const std::uint8_t* p, const std::uint8_t* end) {
    const auto bytes = static_cast<std::size_t>(end - p);
    if (char_bytes(p, end) == bytes) return symbol(p, bytes);
    const std::uint32_t id = m.find(p, bytes);
    return id == SentencePieceModel::none ? no_symbol : id;
  };
  for (std::size_t rank = 0; rank < id_of_rank_.size(); ++rank) {
    const std::string_view text = m.text(id_of_rank_[rank]);
    const auto* begin = reinterpret_cast<const std::uint8_t*>(text.data());
    const std::uint8_t* end = begin + text.size();
    for (const std::uint8_t* cut = begin + char_bytes(begin, end); cut < end; cut += char_bytes(cut, end)) {
      const std::uint32_t left = part(begin, cut), right = part(cut, end);
      if (left == no_symbol || right == no_symbol) continue;
      pairs.insert(pairs.end(), {left, right});
      ranks.push_back(static_cast<std::uint32_t>(rank));
    }
  }
  pairs_ = PairTable(pairs.data(), ranks.data(), ranks.size());
}

std::uint32_t SentencePieceMerges::symbol(const std::uint8_t* at, std::size_t bytes) const noexcept {
  std::uint32_t base = chars_.root();
  const ByteTrie::Node* node = nullptr;
  for (std::size_t i = 0; i < bytes; ++i) {
    node = chars_.child(base, at[i]);
    if (node == nullptr) return no_symbol;
    base = node->base;
  }
  return node->value == ByteTrie::none ? no_symbol : node->value;
}

std::optional<std::size_t> SentencePieceMerges::encode(const SentencePieceModel& m, const std::uint8_t* at,
                                                       const std::uint8_t* end, std::uint32_t* out) const noexcept {
  std::uint32_t symbols[max_symbols], ranks[max_symbols];
  const std::uint8_t* starts[max_symbols + 1];
  std::size_t n = 0;
  for (const std::uint8_t* p = at; p < end; ++n) {
    if (n == max_symbols) return std::nullopt;
    const std::size_t bytes = char_bytes(p, end);
    symbols[n] = *p < 0x80 ? of_byte_[*p] : symbol(p, bytes);
    starts[n] = p;
    p += bytes;
  }
  starts[n] = end;
  for (std::size_t i = 0; i + 1 < n; ++i) ranks[i] = pairs_.rank(symbols[i], symbols[i + 1]);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == no_rank) break;
    symbols[best] = id_of_rank_[ranks[best]];
    --n;
    for (std::size_t i = best + 1; i < n; ++i) symbols[i] = symbols[i + 1], starts[i] = starts[i + 1];
    starts[n] = end;
    for (std::size_t i = best; i + 1 < n; ++i) ranks[i] = ranks[i + 1];
    if (best > 0) ranks[best - 1] = pairs_.rank(symbols[best - 1], symbols[best]);
    if (best + 1 < n) ranks[best] = pairs_.rank(symbols[best], symbols[best + 1]);
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t id = symbols[i] < m.kinds.size() ? symbols[i] : m.unk_id;
    count += emit_piece(m, id, starts[i], static_cast<std::size_t>(starts[i + 1] - starts[i]), out + count);
  }
  return count;
}

}  // namespace fasttrain::tokenizer
