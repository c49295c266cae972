// sentencepiece_bpe and unigram: pieces and their scores come from the input, texts of any bytes. Implementations agree
// with each other and with themselves from the cache, and ids spell the text. BPE of normal
// pieces over valid UTF-8 is also merged pair by pair.

#include "tokenizer/sentencepiece_bpe.h"

#include <algorithm>
#include <string>

#include "fuzz.h"
#include "tokenizer/unicode_ln.h"
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
Pieces choose(fuzz::Input& in, std::size_t num, bool has_bytes, bool has_kinds, bool has_ties, std::vector<std::uint8_t> texts) {
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
    p.scores.push_back(-0.5F - 0.25F * static_cast<float>(how >> 4) - (has_ties ? 0.0F : 0.001F * static_cast<float>(k)));
    p.kinds.push_back(kind == 4 || kind == 5 ? kind : 1);
  }
  return p;
}

bool is_utf8(const std::string& text) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  for (const std::uint8_t* end = at + text.size(); at < end;) {
    const std::size_t bytes = decode_at(unicode_classes(), at, end).bytes;
    if (bytes == 1 && *at >= 0x80) return false;
    at += bytes;
  }
  return true;
}

// Ids of a text of normal pieces: the neighbours that are the best piece together merge, the leftmost of equals.
void merge(const Pieces& p, const std::string& text, std::vector<std::uint32_t>& ids) {
  const auto id_of = [&](const std::string& piece) {
    return static_cast<std::size_t>(std::find(p.texts.begin() + 1, p.texts.end(), piece) - p.texts.begin());
  };
  std::vector<std::string> symbols;
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  for (const std::uint8_t* end = at + text.size(); at < end; at += symbols.back().size())
    symbols.emplace_back(reinterpret_cast<const char*>(at), char_bytes(at, end));
  for (;;) {
    std::size_t best = symbols.size();
    float best_score = 0.0F;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const std::size_t id = id_of(symbols[i] + symbols[i + 1]);
      if (id == p.texts.size() || (best < symbols.size() && p.scores[id] <= best_score)) continue;
      best = i, best_score = p.scores[id];
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  bool was_unknown = false;
  for (const std::string& symbol : symbols) {
    const std::size_t id = id_of(symbol);
    const bool is_unknown = id == p.texts.size();
    if (!is_unknown)
      ids.push_back(static_cast<std::uint32_t>(id));
    else if (!p.byte_ids.empty())
      for (const char c : symbol) ids.push_back(p.byte_ids[static_cast<std::uint8_t>(c)]);
    else if (!was_unknown)
      ids.push_back(0);
    was_unknown = is_unknown;
  }
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
  const Pieces p = choose(in, num, choice & 1, choice & 2, choice & 4, texts.data);
  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> offsets{0};
  for (const std::string& text : p.texts) {
    data.insert(data.end(), text.begin(), text.end());
    offsets.push_back(static_cast<std::int64_t>(data.size()));
  }
  data.shrink_to_fit();
  const SentencePieceModelArgs args{data.data(), offsets.data(), p.scores.data(), p.kinds.data(),
                                    p.byte_ids.empty() ? nullptr : p.byte_ids.data(), nullptr, nullptr,
                                    nullptr, 0.0, false, p.texts.size(), 0, 0,
                                    std::size_t{1} << (choice & 8 ? 12 : 20), std::size_t{1} << (choice >> 4)};
  bool are_valid = std::all_of(p.texts.begin(), p.texts.end(), is_utf8);
  for (std::size_t n = 0; n < texts.N(); ++n)
    are_valid = are_valid && is_utf8(std::string(texts.data.begin() + texts.offsets[n], texts.data.begin() + texts.offsets[n + 1]));
  for (const auto impls : {sentencepiece_bpe_impls(), unigram_impls()}) {
    fuzz::Agree<std::vector<std::uint32_t>> answers;
    fuzz::each(impls, [&](SentencePieceFn fn) {
      SentencePieceModel model(args);
      for (int again = 0; again < 2; ++again) answers(run(fn, model, texts, 1));
    });
    if (impls.data() == sentencepiece_bpe_impls().data() && !(choice & 2) && are_valid) {
      std::vector<std::uint32_t> wanted;
      for (std::size_t n = 0; n < texts.N(); ++n)
        merge(p, std::string(texts.data.begin() + texts.offsets[n], texts.data.begin() + texts.offsets[n + 1]), wanted);
      FUZZ_REQUIRE(answers.first() == wanted);
    }
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
