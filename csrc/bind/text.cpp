#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "text/hash128.h"
#include "text/shingle.h"
#include "text/word_places.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_text(py::module_& m) {
  m.def("hash128_impls", [] { return runnable(text::hash128_impls()); });
  m.def(
      "hash128",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::uint64_t>& out, std::uint32_t seed, int threads, const std::string& impl) {
        const auto fn = pick(text::hash128_impls(), "hash128", impl);
        const text::Hash128Args args{
            data.data(), offsets.data(), out.mutable_data(), static_cast<std::size_t>(out.shape(0)), seed, threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "seed"_a, "threads"_a, "impl"_a);

  m.def("shingle_impls", [] { return runnable(text::shingle_impls()); });
  m.def(
      "shingle",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::uint64_t>& out, bind::Array<std::int64_t>& out_offsets, std::size_t n, bool sets, int threads,
         const std::string& impl) {
        const auto fn = pick(text::shingle_impls(), "shingle", impl);
        const text::ShingleArgs args{data.data(),
                                     offsets.data(),
                                     out.mutable_data(),
                                     out_offsets.mutable_data(),
                                     static_cast<std::size_t>(out_offsets.shape(0) - 1),
                                     n,
                                     sets,
                                     threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "out_offsets"_a.noconvert(), "n"_a, "sets"_a,
      "threads"_a, "impl"_a);

  m.def("word_places_impls", [] { return runnable(text::word_places_impls()); });
  m.def(
      "word_places",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::int64_t>& places, bind::Array<std::int64_t>& word_offsets, const std::string& impl) {
        const auto fn = pick(text::word_places_impls(), "word_places", impl);
        const text::WordPlacesArgs args{data.data(), offsets.data(), places.mutable_data(), word_offsets.mutable_data(),
                                        static_cast<std::size_t>(word_offsets.shape(0) - 1)};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "places"_a.noconvert(), "word_offsets"_a.noconvert(), "impl"_a);
}
