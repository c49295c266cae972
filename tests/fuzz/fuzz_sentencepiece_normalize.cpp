// sentencepiece_normalize: a map, symbols and flags from the input, texts of any bytes. Implementations agree, also where
// the map is damaged, write no more than room says, and give UTF-8 where there is no map and no symbol.

#include "tokenizer/sentencepiece_normalize.h"

#include <string>

#include "fuzz.h"
#include "tokenizer/unicode_ln.h"

using namespace fasttrain;
using namespace fasttrain::tokenizer;

namespace {

bool is_utf8(const std::vector<std::uint8_t>& text) {
  const std::uint8_t* at = text.data();
  for (const std::uint8_t* end = at + text.size(); at < end;) {
    const std::size_t bytes = decode_at(unicode_classes(), at, end).bytes;
    if (bytes == 1 && *at >= 0x80) return false;
    at += bytes;
  }
  return true;
}

struct Answer {
  std::vector<std::uint8_t> text;
  std::vector<std::int64_t> ends;
  bool operator==(const Answer&) const = default;
};

Answer run(SentencePieceNormalizeFn fn, const SentencePieceNormalizer& m, const fuzz::Texts& texts, int threads) {
  Answer answer{std::vector<std::uint8_t>(texts.data.size() * m.growth() + texts.N() * SentencePieceNormalizer::room_bytes),
                std::vector<std::int64_t>(texts.N() + 1)};
  fn({&m, texts.data.data(), texts.offsets.data(), answer.text.data(), answer.ends.data(), texts.N(), threads});
  if (answer.ends.back() < 0) return {{}, {-1}};
  FUZZ_REQUIRE(answer.ends.back() <= static_cast<std::int64_t>(answer.text.size()));
  answer.text.resize(static_cast<std::size_t>(answer.ends.back()));
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const std::uint8_t flags = in.take(), num_units = in.take() % 32, num_symbols = in.take() % 4, repeats = in.take() % 8;
  std::vector<std::uint32_t> units;
  for (int k = 0; k < num_units; ++k) units.push_back(in.take<std::uint32_t>() & 0x800FFFFF);
  std::vector<std::uint8_t> symbols, strings{'a', 0, ' ', 'b', 0, 0xC3, 0xA9, 0};
  std::vector<std::int64_t> offsets{0};
  for (int k = 0; k < num_symbols; ++k) {
    for (int n = in.take() % 4 + 1; n > 0; --n) symbols.push_back(in.take());
    offsets.push_back(static_cast<std::int64_t>(symbols.size()));
  }
  fuzz::Texts texts = in.texts();
  if (texts.N() == 1)  // long enough for what is copied 64 bytes at a time
    for (int k = 0; k < repeats; ++k) {
      const std::vector<std::uint8_t> once = texts.data;
      if (once.size() > 400) break;
      texts.data.insert(texts.data.end(), once.begin(), once.end());
    }
  texts.data.shrink_to_fit();
  texts.offsets.back() = static_cast<std::int64_t>(texts.data.size());
  const SentencePieceNormalizer m({units.data(), strings.data(), symbols.data(), offsets.data(), units.size(),
                                   strings.size(), offsets.size() - 1, (flags & 1) != 0, (flags & 2) != 0,
                                   (flags & 4) != 0, (flags & 8) != 0});
  fuzz::Agree<Answer> answers;
  fuzz::each(sentencepiece_normalize_impls(), [&](SentencePieceNormalizeFn fn) {
    answers(run(fn, m, texts, 1));
    answers(run(fn, m, texts, 2));
  });
  if (units.empty() && symbols.empty()) FUZZ_REQUIRE(is_utf8(answers.first().text));
  return 0;
}
