#pragma once /* part of bpe_encode */
// Byte strings and two numbers of each, as a double array: a step is one load of 16 bytes and a compare.
//
// The child by byte b of a node lies at its base ^ b and holds b; no two nodes share a base, so that a place that holds
// b at base ^ b is that child. Source: Aoe 1989, with the exclusive or of darts-clone.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tokenizer/huge_array.h"

namespace fasttrain::tokenizer {

class ByteTrie {
 public:
  static constexpr std::uint32_t none = 0xFFFFFFFF;

  struct Key {
    const std::uint8_t* data;
    std::uint32_t bytes;  // not 0
    std::uint32_t value;  // not none
    std::uint32_t extra;
  };
  struct Node {
    std::uint32_t base;
    std::uint32_t label;  // the byte that leads here; none: nothing is here
    std::uint32_t value;  // none: no key ends here
    std::uint32_t extra;
  };

  ByteTrie() = default;
  explicit ByteTrie(std::vector<Key> keys);  // of equal strings the last counts

  std::uint32_t root() const noexcept { return root_; }
  // The node behind one of this base by `byte`; nullptr.
  const Node* child(std::uint32_t base, std::uint8_t byte) const noexcept {
    const Node* node = nodes_.get() + (base ^ byte);
    return node->label == byte ? node : nullptr;
  }

 private:
  HugeArray<Node> nodes_;
  std::uint32_t root_ = 0;  // its base; 0 has no children
};

}  // namespace fasttrain::tokenizer
