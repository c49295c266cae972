// sentencepiece_bpe and unigram: pieces and their scores come from the input, texts of any bytes. Implementations agree
// with each other and with themselves from the cache, and ids spell the text.

#include "tokenizer/sentencepiece_bpe.h"

#include <algorithm>
#include <string>

#include "fuzz.h"
#include "tokenizer/unigram.h"

using namespace fasttrain;
using namespace fasttrain::tokenizer;

namespace {

struct Pieces {
  std::vector<std::string> texts{""};  // 0: unknown
  std::vector<float> scores{0.0F};
  std::vector<std::uint8_t> kinds{2};
  std::vector<std::uint32_t> byte_ids;
};

// Pieces of up to 12 bytes, each a stretch of the texts, of a few scores so that ties are met.
Pieces choose(fuzz::Input& in, std::size_t num, bool has_bytes, bool has_kinds, std::vector<std::uint8_t> texts) {
  Pieces p;
  for (int b = 0; b < (has_bytes ? 256 : 0); ++b) {
    p.byte_ids.push_back(static_cast<std::uint32_t>(p.texts.size()));
    p.texts.emplace_back(), p.scores.push_back(0.0F), p.kinds.push_back(6);
  }
  for (std::size_t k = 0; k < num && !texts.empty(); ++k) {
    const auto at = static_cast<std::size_t>(in.take() * 7u) % texts.size();
    const std::uint8_t how = in.take(), kind = has_kinds ? in.take() % 8 : 1;
    const std::size_t size = std::min<std::size_t>(how % 12u + 1, texts.size() - at);
    const std::string text(texts.begin() + static_cast<std::ptrdiff_t>(at), texts.begin() + static_cast<std::ptrdiff_t>(at + size));
    if (std::find(p.texts.begin() + 1, p.texts.end(), text) != p.texts.end()) continue;
    p.texts.push_back(text);
    p.scores.push_back(-0.5F - 0.25F * static_cast<float>(how >> 4));
    p.kinds.push_back(kind == 4 || kind == 5 ? kind : 1);
  }
  return p;
}

std::vector<std::uint32_t> run(SentencePieceFn fn, SentencePieceModel& model, const fuzz::Texts& texts, int threads) {
  std::vector<std::uint32_t> ids(texts.data.size());
  std::vector<std::int64_t> ends(texts.N() + 1);
  fn({&model, texts.data.data(), texts.offsets.data(), ids.data(), ends.data(), texts.N(), threads});
  FUZZ_REQUIRE(ends[0] == 0 && ends.back() <= static_cast<std::int64_t>(ids.size()));
  for (std::size_t n = 0; n < texts.N(); ++n) {
    FUZZ_REQUIRE(ends[n + 1] >= ends[n] && static_cast<std::size_t>(ends[n + 1] - ends[n]) <= texts.bytes(n));
    FUZZ_REQUIRE((ends[n + 1] == ends[n]) == (texts.bytes(n) == 0));
  }
  ids.resize(static_cast<std::size_t>(ends.back()));
  return ids;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const std::uint8_t choice = in.take(), num = in.take() % 64;
  fuzz::Input rest = in;
  for (int k = 0; k < 3 * num; ++k) rest.take();
  const fuzz::Texts texts = rest.texts();
  const Pieces p = choose(in, num, choice & 1, choice & 2, texts.data);
  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> offsets{0};
  for (const std::string& text : p.texts) {
    data.insert(data.end(), text.begin(), text.end());
    offsets.push_back(static_cast<std::int64_t>(data.size()));
  }
  data.shrink_to_fit();
  const SentencePieceModelArgs args{data.data(), offsets.data(), p.scores.data(), p.kinds.data(),
                                    p.byte_ids.empty() ? nullptr : p.byte_ids.data(), p.texts.size(), 0};
  for (const auto impls : {sentencepiece_bpe_impls(), unigram_impls()}) {
    fuzz::Agree<std::vector<std::uint32_t>> answers;
    fuzz::each(impls, [&](SentencePieceFn fn) {
      SentencePieceModel model(args);
      for (int again = 0; again < 2; ++again) answers(run(fn, model, texts, 1));
    });
    std::string spelled;
    for (const std::uint32_t id : answers.first()) {
      FUZZ_REQUIRE(id < p.texts.size());
      if (p.kinds[id] == 6)
        spelled += static_cast<char>(id - p.byte_ids[0]);
      else
        spelled += p.texts[id];
    }
    const std::string all(texts.data.begin(), texts.data.end());
    if (!p.byte_ids.empty()) FUZZ_REQUIRE(spelled == all);
    // Without byte fallback what is known stands in the text in its order.
    for (std::size_t at = 0, k = 0; k < answers.first().size(); ++k) {
      const std::string& text = p.texts[answers.first()[k]];
      if (!p.byte_ids.empty() || text.empty()) continue;
      at = all.find(text, at);
      FUZZ_REQUIRE(at != std::string::npos);
      at += text.size();
    }
  }
  return 0;
}
