#include "tokenizer/bpe_backtrack.h"

#include <algorithm>
#include <bit>

#include "tokenizer/bpe_model.h"

namespace fasttrain::tokenizer {
namespace {

constexpr int answer_bits = 13;  // 64 KiB: what is asked again is asked soon, or in L2
constexpr std::uint64_t no_slot = ~std::uint64_t{0};

std::uint64_t slot_hash(std::uint64_t key) noexcept { return key * 0x9E3779B97F4A7C15ULL; }

}  // namespace

BpeBacktrack::BpeBacktrack(const std::vector<Token>& tokens, std::size_t V) : made_(V), token_of_(256, none) {
  std::size_t bytes = 0;
  for (const Token& token : tokens) bytes += token.bytes;
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(2 * bytes, 16));
  slots_ = HugeArray<std::uint64_t>(size, 0xFF);
  shift_ = 64 - std::countr_zero(size);
  for (const Token& token : tokens) {
    made_[token.id] = {token.left, token.right, token.when, token.bytes, none};
    std::uint32_t node = token.data[0];
    for (std::uint32_t i = 1; i < token.bytes; ++i) node = add_child(node, token.data[i]);
    token_of_[node] = token.id;
  }
  of_two_.resize(1 << 16);
  for (std::uint32_t i = 0; i < 1 << 16; ++i) of_two_[i] = child(i >> 8, static_cast<std::uint8_t>(i));
  for (const Token& token : tokens) {
    std::uint32_t node = token.data[0];
    for (std::uint32_t i = 1; i < token.bytes; ++i) {
      if (token_of_[node] != none) made_[token.id].shorter = token_of_[node];
      node = child(node, token.data[i]);
    }
  }
}

std::uint32_t BpeBacktrack::child(std::uint32_t node, std::uint8_t byte) const noexcept {
  const std::uint64_t key = std::uint64_t{node} << 8 | byte;
  const std::uint64_t* slots = slots_.get();
  for (std::size_t i = slot_hash(key) >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
    if (slots[i] >> 24 == key) return static_cast<std::uint32_t>(slots[i] & 0xFFFFFF);
    if (slots[i] == no_slot) return none;
  }
}

std::uint32_t BpeBacktrack::add_child(std::uint32_t node, std::uint8_t byte) {
  if (const std::uint32_t found = child(node, byte); found != none) return found;
  const std::uint64_t key = std::uint64_t{node} << 8 | byte;
  std::size_t i = slot_hash(key) >> shift_;
  while (slots_.get()[i] != no_slot) i = (i + 1) & (slots_.size() - 1);
  const auto made = static_cast<std::uint32_t>(token_of_.size());
  slots_.get()[i] = key << 24 | made;
  token_of_.push_back(none);
  return made;
}

std::uint32_t BpeBacktrack::longest(const std::uint8_t* p, const std::uint8_t* end) const noexcept {
  std::uint32_t node = *p, token = token_of_[node];
  if (end - p < 2 || (node = of_two_[std::size_t{p[0]} << 8 | p[1]]) == none) return token;
  if (token_of_[node] != none) token = token_of_[node];
  ++p;
  while (++p < end && (node = child(node, *p)) != none)
    if (token_of_[node] != none) token = token_of_[node];
  return token;
}

bool BpeBacktrack::may_neighbour(const PairTable& table, std::uint32_t left, std::uint32_t right) const noexcept {
  for (std::uint32_t limit = no_rank;;) {
    const std::uint32_t rank = table.rank(left, right);
    if (rank < limit) return false;  // no_rank is never below
    const Made &l = made_[left], &r = made_[right];
    if (l.when > r.when) {  // of equal ranks the leftmost merges first: across the border that is after `left`...
      limit = l.when - 1;
      left = l.right;
    } else if (r.when != 0) {  // ...and before `right`
      limit = r.when;
      right = r.left;
    } else {
      return true;
    }
  }
}

bool BpeBacktrack::ask(const PairTable& table, std::uint32_t left, std::uint32_t right,
                       Scratch& scratch) const noexcept {
  const std::uint64_t key = PairTable::key(left, right) + 1;  // 0: empty
  std::uint64_t& answer = scratch.answered[slot_hash(key) >> (64 - answer_bits)];
  if (answer >> 1 != key) answer = key << 1 | static_cast<std::uint64_t>(may_neighbour(table, left, right));
  return (answer & 1) != 0;
}

std::size_t BpeBacktrack::encode(const PairTable& table, const std::uint8_t* piece, std::size_t bytes,
                                 std::uint32_t* out, Scratch& scratch) const {
  std::vector<std::uint64_t>& tried = scratch.tried;
  tried.assign(bytes / 64 + 1, 0);
  scratch.answered.resize(std::size_t{1} << answer_bits);
  std::size_t count = 0, at = 0;
  std::uint32_t token = longest(piece, piece + bytes);
  while (at < bytes) {
    const std::size_t end = at + made_[token].bytes;
    const bool is_open = (tried[end >> 6] >> (end & 63) & 1) == 0;
    if (is_open && (count == 0 || ask(table, out[count - 1], token, scratch))) {
      out[count++] = token;
      at = end;
      if (at < bytes) token = longest(piece + at, piece + bytes);
    } else if (made_[token].shorter != none) {
      token = made_[token].shorter;
    } else {
      tried[at >> 6] |= std::uint64_t{1} << (at & 63);
      token = out[--count];  // its end is closed now: the next turn takes a shorter one
      at -= made_[token].bytes;
    }
  }
  return count;
}

}  // namespace fasttrain::tokenizer
