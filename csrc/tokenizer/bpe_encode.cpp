#include "tokenizer/bpe_encode.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {
namespace scalar {
#define FT_SCAN inline
FT_SCAN std::size_t encode_piece(BpeModel& model, const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                                 BpeModel::Worker& w) {
  return model.encode_piece(piece, bytes, out, w);
}
FT_SCAN void encode_short(BpeModel& model, ShortPiece* pieces, int num, BpeModel::Worker& w) {
  for (ShortPiece* s = pieces; s < pieces + num; ++s)
    s->count = static_cast<std::uint32_t>(model.encode_piece(s->piece, s->bytes, s->ids, w));
}
#include "tokenizer/encode_text.inc"
#undef FT_SCAN
}  // namespace scalar

namespace {

// One text: what lies between added tokens is encoded as a text of its own.
std::size_t encode_between(const BpeEncodeArgs& a, EncodeText one, BpeModel::Worker& w, const std::uint8_t* p,
                           const std::uint8_t* end, std::uint32_t* out) {
  if (!a.finds_added || a.model->added().empty()) return one(a, w, p, end, out);
  std::size_t count = 0;
  while (p < end) {
    const AddedTokens::Match match = a.model->added().find(p, end);
    count += one(a, w, p, match.begin, out + count);
    if (match.bytes != 0) out[count++] = match.id;
    p = match.begin + match.bytes;
  }
  return count;
}

// Ids of blocks of texts, written one block after another by whoever finishes the next one. No thread waits for another,
// a block is in cache when it is copied, and each page of the result is touched once: closing up the blocks at the end
// was serial, and touched most pages twice.
class Blocks {
 public:
  using Buffer = std::unique_ptr<std::uint32_t[]>;

  Blocks(std::uint32_t* out, std::size_t num, std::size_t max_ids) : out_(out), ready_(num), max_ids_(max_ids) {}

  Buffer take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return Buffer(new std::uint32_t[max_ids_]);  // not set: pages that no id reaches are not touched
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  void put(std::size_t block, Buffer ids, std::size_t count) {
    std::unique_lock lock(mutex_);
    ready_[block] = {std::move(ids), count};
    while (next_ < ready_.size() && ready_[next_].ids) {
      Ready due = std::move(ready_[next_]);
      std::uint32_t* to = out_ + end_;
      end_ += due.count;
      ++next_;
      lock.unlock();
      std::memcpy(to, due.ids.get(), due.count * sizeof *to);
      lock.lock();
      free_.push_back(std::move(due.ids));
    }
  }

 private:
  struct Ready {
    Buffer ids;
    std::size_t count = 0;
  };
  std::mutex mutex_;
  std::uint32_t* out_;
  std::vector<Ready> ready_;
  std::vector<Buffer> free_;
  std::size_t max_ids_, next_ = 0, end_ = 0;
};

// Texts [begin, stop) at `out`; returns the number of ids. ends[n + 1] becomes that of text n.
std::size_t encode_block(const BpeEncodeArgs& a, EncodeText one, std::size_t begin, std::size_t stop,
                         std::uint32_t* out) {
  auto worker = a.model->take_worker();
  std::size_t total = 0;
  for (std::size_t n = begin; n < stop; ++n) {
    std::uint32_t* ids = out + total;
    std::size_t count = encode_between(a, one, *worker, a.data + a.offsets[n], a.data + a.offsets[n + 1], ids);
    if (a.eot >= 0) ids[count++] = static_cast<std::uint32_t>(a.eot);
    total += count;
    a.ends[n + 1] = static_cast<std::int64_t>(count);
  }
  a.model->give_back(std::move(worker));
  return total;
}

// Texts at which blocks of about as many bytes begin, and N: several for each thread, and the ids of one fit L2.
std::vector<std::size_t> block_begins(const BpeEncodeArgs& a) {
  const std::int64_t bytes = a.offsets[a.N] - a.offsets[0];
  const std::int64_t block_bytes = std::clamp<std::int64_t>(bytes / (8 * a.threads), 1, 1 << 20);
  std::vector<std::size_t> begins{0};
  for (std::size_t n = 1; n < a.N; ++n)
    if (a.offsets[n] - a.offsets[begins.back()] >= block_bytes) begins.push_back(n);
  begins.push_back(a.N);
  return begins;
}

}  // namespace

void encode_texts(const BpeEncodeArgs& a, EncodeText one) noexcept {
  const std::vector<std::size_t> begins = a.threads > 1 ? block_begins(a) : std::vector<std::size_t>{0, a.N};
  const std::size_t blocks = begins.size() - 1;
  if (blocks == 1) {
    if (a.N > 0) encode_block(a, one, 0, a.N, a.ids);
  } else {
    std::size_t max_ids = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
      const auto bytes = static_cast<std::size_t>(a.offsets[begins[b + 1]] - a.offsets[begins[b]]);
      max_ids = std::max(max_ids, bytes + begins[b + 1] - begins[b]);
    }
    Blocks ordered(a.ids, blocks, max_ids);
    parallel_for(blocks, a.threads, [&](std::size_t b) {
      auto ids = ordered.take();
      const std::size_t count = encode_block(a, one, begins[b], begins[b + 1], ids.get());
      ordered.put(b, std::move(ids), count);
    });
  }
  a.ends[0] = 0;
  for (std::size_t n = 0; n < a.N; ++n) a.ends[n + 1] += a.ends[n];
}

void bpe_encode_scalar(const BpeEncodeArgs& a) noexcept { encode_texts(a, scalar::encode_text); }

std::span<const Impl<BpeEncodeFn>> bpe_encode_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<BpeEncodeFn>, 3> impls{
      {{"avx512", Isa::avx512, bpe_encode_avx512},
       {"avx2", Isa::avx2, bpe_encode_avx2},
       {"scalar", Isa::any, bpe_encode_scalar}}};
#else
  static constexpr std::array<Impl<BpeEncodeFn>, 1> impls{{{"scalar", Isa::any, bpe_encode_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
