#include "tokenizer/bpe_backtrack.h"

#include <utility>

#include "tokenizer/bpe_model.h"

namespace fasttrain::tokenizer {
namespace {

constexpr int answer_bits = 13;  // 64 KiB: what is asked again is asked soon, or in L2

std::uint64_t slot_hash(std::uint64_t key) noexcept { return key * 0x9E3779B97F4A7C15ULL; }

}  // namespace

BpeBacktrack::BpeBacktrack(const std::vector<Token>& tokens, std::size_t V) : made_(V) {
  std::vector<ByteTrie::Key> keys;
  for (const Token& token : tokens) {
    made_[token.id] = {token.left, token.right, token.when, token.bytes, none};
    keys.push_back({token.data, token.bytes, token.id, token.bytes});
  }
  trie_ = ByteTrie(std::move(keys));
  for (const Token& token : tokens) {
    std::uint32_t base = trie_.root();
    for (std::uint32_t i = 0; i + 1 < token.bytes; ++i) {
      const ByteTrie::Node* node = trie_.child(base, token.data[i]);
      if (node->value != none) made_[token.id].shorter = node->value;
      base = node->base;
    }
  }
  for (std::uint32_t first = 0; first < 256; ++first) {
    const ByteTrie::Node* one = trie_.child(trie_.root(), static_cast<std::uint8_t>(first));
    of_one_.push_back(one->value);
    for (std::uint32_t second = 0; second < 256; ++second) {
      const ByteTrie::Node* two = trie_.child(one->base, static_cast<std::uint8_t>(second));
      of_two_.push_back(two ? First{two->base, two->value != none ? two->value : one->value} : First{0, one->value});
    }
  }
}

std::uint32_t BpeBacktrack::longest(const std::uint8_t* p, const std::uint8_t* end) const noexcept {
  if (end - p < 2) return of_one_[*p];
  const First first = of_two_[std::size_t{p[0]} << 8 | p[1]];
  std::uint32_t token = first.token;
  p += 2;
  std::uint32_t base = first.base;
  for (const ByteTrie::Node* node; p < end && (node = trie_.child(base, *p)) != nullptr; ++p) {
    if (node->value != none) token = node->value;
    base = node->base;
  }
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
