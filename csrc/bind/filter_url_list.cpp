#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "filter/url_list.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

namespace {

using Bytes = bind::Array<std::uint8_t>;
using Words = bind::Array<std::uint64_t>;
using Places = bind::Array<std::int64_t>;

const filter::Hash128* hashes(const Words& a) { return reinterpret_cast<const filter::Hash128*>(a.data()); }
filter::Hash128* hashes(Words& a) { return reinterpret_cast<filter::Hash128*>(a.mutable_data()); }

int bits_of(const Places& starts) {
  int bits = 0;
  while ((py::ssize_t{1} << bits) + 1 < starts.shape(0)) ++bits;
  return bits;
}

filter::HashSet set_of(const Words& a, const Places& starts) {
  return {hashes(a), starts.data(), bits_of(starts), static_cast<std::size_t>(a.shape(0))};
}

}  // namespace

void bind_filter_url_list(py::module_& m) {
  m.def("url_list_impls", [] { return runnable(filter::url_list_impls()); });
  m.def(
      "url_list_room",
      [](const Bytes& data, int kind) {
        return filter::url_list_room(data.data(), static_cast<std::size_t>(data.size()), kind);
      },
      "data"_a.noconvert(), "kind"_a);
  m.def(
      "url_list_read",
      [](const Bytes& data, Words& out, Places& odd, Places& counts, int kind, const std::string& impl) {
        const auto fns = pick(filter::url_list_impls(), "url_list", impl);
        const filter::UrlReadArgs args{
            data.data(), hashes(out), odd.mutable_data(), counts.mutable_data(), static_cast<std::size_t>(data.size()),
            kind};
        py::gil_scoped_release nogil;
        fns.read(args);
      },
      "data"_a.noconvert(), "out"_a.noconvert(), "odd"_a.noconvert(), "counts"_a.noconvert(), "kind"_a, "impl"_a);
  m.def(
      "url_list_sort",
      [](const Words& in, Words& out, Places& starts, Places& count, const std::string& impl) {
        const auto fns = pick(filter::url_list_impls(), "url_list", impl);
        const filter::UrlSortArgs args{hashes(in),           hashes(out),
                                       starts.mutable_data(), count.mutable_data(),
                                       static_cast<std::size_t>(in.shape(0)), bits_of(starts)};
        py::gil_scoped_release nogil;
        fns.sort(args);
      },
      "hashes"_a.noconvert(), "out"_a.noconvert(), "starts"_a.noconvert(), "count"_a.noconvert(), "impl"_a);
  m.def(
      "url_list_find",
      [](const Bytes& data, const Places& offsets, Bytes& out, Bytes& odd, const Words& domains,
         const Places& domain_starts, const Words& urls, const Places& url_starts, const Words& words,
         const Places& word_starts, const Places& word_bytes, int threads, const std::string& impl) {
        const auto fns = pick(filter::url_list_impls(), "url_list", impl);
        const filter::UrlFindArgs args{data.data(),
                                       offsets.data(),
                                       out.mutable_data(),
                                       odd.mutable_data(),
                                       set_of(domains, domain_starts),
                                       set_of(urls, url_starts),
                                       set_of(words, word_starts),
                                       word_bytes.data(),
                                       static_cast<std::size_t>(out.shape(0)),
                                       static_cast<std::size_t>(word_bytes.shape(0)),
                                       threads};
        py::gil_scoped_release nogil;
        fns.find(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "odd"_a.noconvert(),
      "domains"_a.noconvert(), "domain_starts"_a.noconvert(), "urls"_a.noconvert(), "url_starts"_a.noconvert(),
      "words"_a.noconvert(), "word_starts"_a.noconvert(), "word_bytes"_a.noconvert(), "threads"_a, "impl"_a);
}
