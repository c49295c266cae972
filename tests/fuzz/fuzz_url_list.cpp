// The list reader and the lookup on arbitrary bytes: nothing outside their arrays is read or written, room is enough, and
// an origin that a URL list names is found in it.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "filter/url_list.h"

using namespace fasttrain::filter;

namespace {

struct Set {
  std::vector<Hash128> hashes;
  std::vector<std::int64_t> starts;
  int bits;

  HashSet view() const { return {hashes.data(), starts.data(), bits, hashes.size()}; }
};

void expect(bool holds) {
  if (!holds) std::abort();
}

Set read(const UrlListFns& fns, const std::vector<std::uint8_t>& data, int kind) {
  const std::size_t room = url_list_room(data.data(), data.size(), kind);
  std::vector<Hash128> found(room);
  std::vector<std::int64_t> odd(2 * room), counts(2);
  fns.read({data.data(), found.data(), odd.data(), counts.data(), data.size(), kind});
  expect(counts[0] >= 0 && static_cast<std::size_t>(counts[0] + counts[1]) <= room);
  for (std::int64_t i = 0; i < counts[1]; ++i)
    expect(0 <= odd[2 * i] && odd[2 * i] < odd[2 * i + 1] && odd[2 * i + 1] <= static_cast<std::int64_t>(data.size()));
  found.resize(static_cast<std::size_t>(counts[0]));
  const int bits = data.size() % 3 == 0 ? 0 : 4;
  Set set{std::vector<Hash128>(found.size()), std::vector<std::int64_t>((1u << bits) + 1), bits};
  std::int64_t count = 0;
  fns.sort({found.data(), set.hashes.data(), set.starts.data(), &count, found.size(), bits});
  expect(count <= counts[0] && set.starts.back() == count);
  set.hashes.resize(static_cast<std::size_t>(count));
  return set;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const UrlListFns fns = url_list_impls().front().fn;
  const std::vector<std::uint8_t> data(bytes, bytes + size);
  const Set domains = read(fns, data, list_domains), urls = read(fns, data, list_urls);
  std::vector<std::int64_t> offsets{0};
  for (std::size_t i = 0; i < size; ++i)
    if (data[i] == '\n') offsets.push_back(static_cast<std::int64_t>(i));
  offsets.push_back(static_cast<std::int64_t>(size));
  const std::size_t N = offsets.size() - 1;
  std::vector<std::uint8_t> out(N), odd(N);
  const std::vector<std::int64_t> word_bytes{1, 3, 8};
  fns.find({data.data(), offsets.data(), out.data(), odd.data(), domains.view(), urls.view(), domains.view(),
            word_bytes.data(), N, word_bytes.size(), 1});
  for (const std::uint8_t code : out) expect(code <= 3);
  return 0;
}
