#include "tokenizer/sentencepiece_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/parallel.h"
#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {
constexpr std::uint8_t space[3] = {0xE2, 0x96, 0x81};  // U+2581

// Whether U+2581 stands behind another character somewhere in the piece.
bool has_inner_space(const std::uint8_t* at, const std::uint8_t* end) {
  while (end - at >= 3 && std::memcmp(at, space, 3) == 0) at += 3;
  return std::search(at, end, space, space + 3) != end;
}
}  // namespace

SentencePieceModel::SentencePieceModel(const SentencePieceModelArgs& a)
    : scores(a.scores, a.scores + a.V),
      kinds(a.kinds, a.kinds + a.V),
      has_list(a.results != nullptr),
      unk_id(a.unk_id),
      min_score(0),
      splits_words(a.splits_words),
      data_(a.piece_data, a.piece_data + a.piece_offsets[a.V]),
      offsets_(a.piece_offsets, a.piece_offsets + a.V + 1),
      wide_min_(a.wide_min),
      cache_bytes_(a.cache_bytes),
      first_buckets_(a.first_buckets) {
  if (a.byte_ids != nullptr) byte_ids.assign(a.byte_ids, a.byte_ids + 256);
  if (a.wide_scores != nullptr) wide_scores_.assign(a.wide_scores, a.wide_scores + a.V);
  if (has_list) {
    listed_pairs.assign(a.pairs, a.pairs + 2 * a.M);
    listed_results.assign(a.results, a.results + a.M);
  }
  for (unsigned pair = 0; pair < 1u << 16; pair += 64) {
    const bool is_inside = (pair >> 8 & 0xC0) == 0x80;  // no character begins there
    edges_[pair >> 6] = is_inside ? 0 : ~std::uint64_t{0};
  }
  bool first = true;
  for (std::size_t i = 0; i < a.V; ++i) {
    const std::size_t size = offsets_[i + 1] - offsets_[i];
    if (size == 0) continue;
    longest = std::max(longest, size);
    cuts_.add_token(data_.data() + offsets_[i], size);
    for (std::size_t k = offsets_[i] + 1; k < offsets_[i + 1]; ++k) {
      const unsigned pair = data_[k] << 8 | data_[k - 1];
      edges_[pair >> 6] &= ~(std::uint64_t{1} << (pair & 63));
    }
    opens_with_space = opens_with_space && !has_inner_space(data_.data() + offsets_[i], data_.data() + offsets_[i + 1]);
    has_unused = has_unused || kinds[i] == unused;
    if (kinds[i] == user_defined) add_symbol(data_.data() + offsets_[i], size);
    if (kinds[i] != 1) continue;
    min_score = first ? scores[i] : std::min(min_score, scores[i]);
    first = false;
  }
  std::sort(symbol_sizes_.begin(), symbol_sizes_.end(), std::greater<>());
  symbol_sizes_.erase(std::unique(symbol_sizes_.begin(), symbol_sizes_.end()), symbol_sizes_.end());
  cuts_.enable();
  index_pieces();
  make_trie();
}

SentencePieceModel::~SentencePieceModel() = default;

void SentencePieceModel::add_symbol(const std::uint8_t* symbol, std::size_t size) {
  symbol_sizes_.push_back(size);
  std::uint8_t& second = symbol_bytes_[*symbol];
  const std::uint8_t wanted = size > 1 && symbol[1] != 0 ? symbol[1] : 1;
  second = second == 0 || second == wanted ? wanted : 1;
}

void SentencePieceModel::index_pieces() {
  slots_.assign(std::bit_ceil(std::max<std::size_t>(16, 2 * kinds.size())), Slot{0, none});
  mask_ = slots_.size() - 1;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::size_t size = offsets_[i + 1] - offsets_[i];
    if (size == 0) continue;
    const std::uint64_t h = hash(data_.data() + offsets_[i], size);
    std::size_t at = h & mask_;
    while (slots_[at].id != none) at = (at + 1) & mask_;
    slots_[at] = {static_cast<std::uint32_t>(h >> 32), static_cast<std::uint32_t>(i)};
  }
}

void SentencePieceModel::make_trie() {
  std::vector<ByteTrie::Key> keys;
  unigram_scores_.resize(kinds.size());
  max_abs_score = std::abs(min_score - unk_penalty);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const auto bytes = static_cast<std::uint32_t>(offsets_[i + 1] - offsets_[i]);
    if (bytes == 0 || kinds[i] == unused) continue;
    // Of a user-defined symbol, whatever the other pieces score: to the bit what sentencepiece 0.2.3 gives it.
    const auto symbol_score = static_cast<float>(static_cast<double>(bytes) * 0.1 - 0.1);
    const float score = kinds[i] == user_defined ? symbol_score : scores[i];
    unigram_scores_[i] = score;
    max_abs_score = std::max(max_abs_score, std::abs(score));
    keys.push_back({data_.data() + offsets_[i], bytes, static_cast<std::uint32_t>(i),
                    std::bit_cast<std::uint32_t>(score)});
  }
  trie_ = ByteTrie(std::move(keys));
  if (unk_id < kinds.size()) unigram_scores_[unk_id] = unknown_score<float>();
  for (std::size_t byte = 0; byte < byte_ids.size(); ++byte)  // an unknown character scores once, by its first byte
    unigram_scores_[byte_ids[byte]] = byte < 0x80 || byte >= 0xC0 ? unknown_score<float>() : 0.0F;
  if (!is_wide()) return;
  double most = std::abs(unknown_score<double>());
  for (const double score : wide_scores_) most = std::max(most, std::abs(score));
  max_abs_score = static_cast<float>(most * 1.000001);  // no less, whichever way it is rounded
}

std::size_t SentencePieceModel::symbol(const std::uint8_t* at, const std::uint8_t* end) const noexcept {
  for (const std::size_t size : symbol_sizes_) {
    if (size > static_cast<std::size_t>(end - at)) continue;
    const std::uint32_t id = find(at, size);
    if (id != none && kinds[id] == user_defined) return size;
  }
  return 0;
}

const SentencePieceMerges* SentencePieceModel::merges() const {
  std::call_once(merges_made_, [this] {
    if (SentencePieceMerges::applies(*this)) merges_ = std::make_unique<const SentencePieceMerges>(*this);
  });
  return merges_.get();
}

std::unique_ptr<SentencePieceModel::Worker> SentencePieceModel::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Worker>(cache_bytes_, first_buckets_);
  auto worker = std::move(idle_.back());
  idle_.pop_back();
  return worker;
}

void SentencePieceModel::give_back(std::unique_ptr<Worker> worker) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(worker));
}

namespace {

std::size_t encode_one(const SentencePieceArgs& a, EncodeSentence one, SentencePieceModel::Worker& w, std::size_t n,
                       std::uint32_t* out) {
  if (a.offsets[n] == a.offsets[n + 1]) return 0;  // texts of no byte at all may have no buffer
  const SentencePieceModel& m = *a.model;
  const std::size_t count = one(m, w, a.data + a.offsets[n], a.data + a.offsets[n + 1], out);
  if (!m.byte_ids.empty()) return count;
  // A run of unknown pieces is one.
  const auto last = std::unique(out, out + count, [&](auto x, auto y) { return x == m.unk_id && y == x; });
  return static_cast<std::size_t>(last - out);
}

}  // namespace

void encode_sentences(const SentencePieceArgs& a, EncodeSentence one) noexcept {
  a.ends[0] = 0;
  if (a.threads == 1) {  // each page of the ids is touched once
    auto worker = a.model->take();
    for (std::size_t n = 0; n < a.N; ++n)
      a.ends[n + 1] = a.ends[n] + static_cast<std::int64_t>(encode_one(a, one, *worker, n, a.ids + a.ends[n]));
    a.model->give_back(std::move(worker));
    return;
  }
  const std::int64_t base = a.offsets[0];
  parallel_ranges(a.N, 16, a.threads, [&](std::size_t begin, std::size_t stop) {
    auto worker = a.model->take();
    for (std::size_t n = begin; n < stop; ++n)
      a.ends[n + 1] =
          static_cast<std::int64_t>(encode_one(a, one, *worker, n, a.ids + (a.offsets[n] - base)));
    a.model->give_back(std::move(worker));
  });
  for (std::size_t n = 0; n < a.N; ++n) {
    const std::int64_t count = a.ends[n + 1];
    if (count > 0)
      std::memmove(a.ids + a.ends[n], a.ids + (a.offsets[n] - base), static_cast<std::size_t>(count) * sizeof *a.ids);
    a.ends[n + 1] = a.ends[n] + count;
  }
}

}  // namespace fasttrain::tokenizer
