// Places of words in arbitrary bytes: no more words than there is room for, in order, inside the text.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "fuzz.h"
#include "text/word_places.h"

using namespace fasttrain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::vector<std::uint8_t> data(bytes, bytes + size);
  const auto n = static_cast<std::int64_t>(size);
  const std::vector<std::int64_t> offsets{0, n / 3, n};
  const std::size_t room = static_cast<std::size_t>((n / 3 + 1) / 2 + (n - n / 3 + 1) / 2);
  for (const auto& impl : text::word_places_impls()) {
    if (!cpu_has(impl.needs)) continue;
    std::vector<std::int64_t> places(3 * room), words(3);
    impl.fn({data.data(), offsets.data(), places.data(), words.data(), 2});
    if (words[0] != 0 || words[1] < 0 || words[2] < words[1] || static_cast<std::size_t>(words[2]) > room) std::abort();
    std::int64_t before = 0;
    for (std::int64_t w = 0; w < words[2]; ++w) {
      const std::int64_t* place = places.data() + 3 * w;
      const std::int64_t begin = w < words[1] ? 0 : n / 3, end = w < words[1] ? n / 3 : n;
      if (place[0] < begin || place[0] < before || place[1] <= place[0] || place[1] > end) std::abort();
      if (place[2] < place[0] || place[2] >= end) std::abort();
      before = place[2] + 1;
    }
  }
  return 0;
}
