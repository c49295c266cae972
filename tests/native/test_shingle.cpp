// Words, shingles and signatures over random bytes, every implementation against the portable one: for the build with
// ASan and UBSan (-DFASTTRAIN_SANITIZE=ON -DFASTTRAIN_NATIVE_TESTS=ON), which sees reads and writes past a buffer.

#include <cstdio>
#include <random>
#include <string_view>
#include <vector>

#include "dedup/minhash.h"
#include "dedup/sketch.h"
#include "text/shingle.h"

using namespace fasttrain;

namespace {

std::mt19937_64 rng(970317);

std::size_t below(std::size_t n) { return rng() % n; }

// A text of one of six makes: raw bytes, digits and letters, mixed scripts, one endless word, shortest words, Hangul.
void append_text(std::vector<std::uint8_t>& data) {
  static constexpr std::string_view mixed[] = {"日", "本", "한", "é", "a", " "}, hangul[] = {"한", "각"};
  const std::size_t steps = below(8) == 0 ? below(70'000) : below(300), make = below(6);
  for (std::size_t i = 0; i < steps; ++i) {
    switch (make) {
      case 0:
        data.push_back(static_cast<std::uint8_t>(rng()));
        break;
      case 1:
        data.push_back(static_cast<std::uint8_t>("ab 1.9"[below(6)]));
        break;
      case 2:
        for (const char c : mixed[below(6)]) data.push_back(static_cast<std::uint8_t>(c));
        break;
      case 3:
        data.push_back('a');
        break;
      case 4:
        data.push_back(static_cast<std::uint8_t>("a "[i % 2]));
        break;
      default:
        for (const char c : hangul[below(2)]) data.push_back(static_cast<std::uint8_t>(c));
    }
  }
}

bool one_batch() {
  const std::size_t N = 1 + below(5), n = 1 + below(14), K = 1 + below(130);
  const bool sets = below(2) == 0;
  std::vector<std::uint8_t> grown;
  std::vector<std::int64_t> offsets{0};
  std::size_t capacity = 0;
  for (std::size_t d = 0; d < N; ++d) {
    append_text(grown);
    offsets.push_back(static_cast<std::int64_t>(grown.size()));
    capacity += static_cast<std::size_t>(offsets[d + 1] - offsets[d] + 1) / 2;
  }
  const std::vector<std::uint8_t> data(grown.begin(), grown.end());  // no room behind the last byte
  std::vector<std::uint32_t> a(K), b(K);
  for (auto& x : a) x = static_cast<std::uint32_t>(rng()) | 1;
  for (auto& x : b) x = static_cast<std::uint32_t>(rng());

  std::vector<std::uint64_t> grams, grams_k(capacity);
  std::vector<std::int64_t> starts, starts_k(N + 1), words(N);
  for (const auto& impl : text::shingle_impls()) {
    if (!cpu_has(impl.needs)) continue;
    impl.fn({data.data(), offsets.data(), grams_k.data(), starts_k.data(), N, n, sets, 2});
    std::vector<std::uint64_t> used(grams_k.begin(), grams_k.begin() + starts_k[N]);
    if (!starts.empty() && (starts != starts_k || grams != used)) return false;
    starts = starts_k, grams = used;
  }
  std::vector<std::uint32_t> sig, sig_k(N * K);
  for (const auto& impl : dedup::minhash_impls()) {
    if (!cpu_has(impl.needs)) continue;
    impl.fn({data.data(), offsets.data(), a.data(), b.data(), sig_k.data(), words.data(), N, K, n, 2});
    if (!sig.empty() && sig != sig_k) return false;
    sig = sig_k;
  }
  for (const auto& impl : dedup::sketch_impls()) {
    if (!cpu_has(impl.needs)) continue;
    impl.fn({grams.data(), starts.data(), a.data(), b.data(), sig_k.data(), N, K, 2});
    if (sig != sig_k) return false;
  }
  return true;
}

}  // namespace

int main() {
  for (int batch = 0; batch < 400; ++batch) {
    if (one_batch()) continue;
    std::printf("implementations differ in batch %d\n", batch);
    return 1;
  }
  return 0;
}
