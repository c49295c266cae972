#include "tokenizer/byte_trie.h"

#include <algorithm>
#include <cstring>

namespace fasttrain::tokenizer {
namespace {

constexpr std::uint32_t block = 256;
// A node that fits none of the last few blocks gets a new one: the array stays nine tenths full, and building linear.
constexpr std::uint32_t open_blocks = 16;

class Builder {
 public:
  explicit Builder(std::vector<ByteTrie::Key>& keys) : keys_(keys) { add_block(); }

  // The base of the node whose keys are [begin, end), all longer than `depth`.
  struct Range {
    std::size_t begin, end;
    std::uint32_t depth, place;  // of the node; none: the root
  };

  std::uint32_t build() {
    std::uint32_t root = 0;
    std::vector<Range> todo{{0, keys_.size(), 0, ByteTrie::none}};
    for (std::size_t i = 0; i < todo.size(); ++i) {  // by depth, so that the first steps of all walks lie together
      const Range range = todo[i];
      if (range.begin == range.end) continue;
      const std::uint32_t base = children(range, todo);
      (range.place == ByteTrie::none ? root : nodes[range.place].base) = base;
    }
    return root;
  }

  std::vector<ByteTrie::Node> nodes;

 private:
  void add_block() {
    nodes.resize(nodes.size() + block, {0, ByteTrie::none, ByteTrie::none, 0});
    is_base_.resize(nodes.size(), false);
    num_free_.push_back(block);
  }
  bool is_free(std::uint32_t place) const { return nodes[place].label == ByteTrie::none; }

  // Places the children of a node and lists them; returns the node's base.
  std::uint32_t children(const Range& range, std::vector<Range>& todo) {
    labels_.clear();
    const auto at = [&](std::size_t k) { return keys_[k].data[range.depth]; };
    for (std::size_t k = range.begin; k < range.end; ++k)
      if (k == range.begin || at(k) != at(k - 1)) labels_.push_back(at(k));
    const std::uint32_t base = find_base();
    is_base_[base] = true;
    for (std::size_t k = range.begin; k < range.end;) {
      const std::uint8_t label = at(k);
      const std::uint32_t place = base ^ label;
      nodes[place] = {0, label, ByteTrie::none, 0};
      --num_free_[place / block];
      for (; k < range.end && at(k) == label && keys_[k].bytes == range.depth + 1; ++k)
        nodes[place].value = keys_[k].value, nodes[place].extra = keys_[k].extra;
      const std::size_t begin = k;
      while (k < range.end && at(k) == label) ++k;
      todo.push_back({begin, k, range.depth + 1, place});
    }
    return base;
  }

  std::uint32_t find_base() {
    const auto blocks = static_cast<std::uint32_t>(num_free_.size());
    // The first block stays empty: base 0 is that of nodes without children.
    for (std::uint32_t b = std::max(1u, blocks - std::min(blocks, open_blocks)); b < blocks; ++b) {
      if (num_free_[b] < labels_.size()) continue;
      for (std::uint32_t i = 0; i < block; ++i) {
        const std::uint32_t base = (b * block + i) ^ labels_[0];
        if (!is_free(b * block + i) || is_base_[base]) continue;
        if (std::all_of(labels_.begin(), labels_.end(), [&](std::uint8_t l) { return is_free(base ^ l); })) return base;
      }
    }
    add_block();
    return blocks * block;
  }

  std::vector<ByteTrie::Key>& keys_;
  std::vector<bool> is_base_;
  std::vector<std::uint32_t> num_free_;
  std::vector<std::uint8_t> labels_;
};

}  // namespace

ByteTrie::ByteTrie(std::vector<Key> keys) {
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    const int order = std::memcmp(a.data, b.data, std::min(a.bytes, b.bytes));
    return order != 0 ? order < 0 : a.bytes < b.bytes;
  });
  Builder builder(keys);
  root_ = builder.build();
  nodes_ = HugeArray<Node>(builder.nodes.size(), 0);
  std::copy(builder.nodes.begin(), builder.nodes.end(), nodes_.get());
}

}  // namespace fasttrain::tokenizer
