#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "dedup/jaccard.h"
#include "dedup/minhash.h"
#include "dedup/sketch.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_dedup(py::module_& m) {
  m.def("sketch_impls", [] { return runnable(dedup::sketch_impls()); });
  m.def(
      "sketch",
      [](const bind::Array<std::uint64_t>& shingles, const bind::Array<std::int64_t>& offsets,
         const bind::Array<std::uint32_t>& a, const bind::Array<std::uint32_t>& b, bind::Array<std::uint32_t>& out,
         int threads, const std::string& impl) {
        const auto fn = pick(dedup::sketch_impls(), "sketch", impl);
        const dedup::SketchArgs args{shingles.data(),
                                     offsets.data(),
                                     a.data(),
                                     b.data(),
                                     out.mutable_data(),
                                     static_cast<std::size_t>(out.shape(0)),
                                     static_cast<std::size_t>(out.shape(1)),
                                     threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "shingles"_a.noconvert(), "offsets"_a.noconvert(), "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(),
      "threads"_a, "impl"_a);

  m.def("minhash_impls", [] { return runnable(dedup::minhash_impls()); });
  m.def(
      "minhash",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         const bind::Array<std::uint32_t>& a, const bind::Array<std::uint32_t>& b, bind::Array<std::uint32_t>& out,
         bind::Array<std::int64_t>& words, std::size_t n, int threads, const std::string& impl) {
        const auto fn = pick(dedup::minhash_impls(), "minhash", impl);
        const dedup::MinhashArgs args{data.data(),
                                      offsets.data(),
                                      a.data(),
                                      b.data(),
                                      out.mutable_data(),
                                      words.mutable_data(),
                                      static_cast<std::size_t>(out.shape(0)),
                                      static_cast<std::size_t>(out.shape(1)),
                                      n,
                                      threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(),
      "words"_a.noconvert(), "n"_a, "threads"_a, "impl"_a);

  m.def("jaccard_impls", [] { return runnable(dedup::jaccard_impls()); });
  m.def(
      "jaccard",
      [](const bind::Array<std::uint64_t>& a, const bind::Array<std::int64_t>& a_offsets,
         const bind::Array<std::uint64_t>& b, const bind::Array<std::int64_t>& b_offsets,
         const bind::Array<std::int64_t>& pairs, bind::Array<std::int64_t>& common, int threads,
         const std::string& impl) {
        const auto fn = pick(dedup::jaccard_impls(), "jaccard", impl);
        const dedup::JaccardArgs args{a.data(),
                                      a_offsets.data(),
                                      b.data(),
                                      b_offsets.data(),
                                      pairs.data(),
                                      common.mutable_data(),
                                      static_cast<std::size_t>(common.shape(0)),
                                      threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "a"_a.noconvert(), "a_offsets"_a.noconvert(), "b"_a.noconvert(), "b_offsets"_a.noconvert(), "pairs"_a.noconvert(),
      "common"_a.noconvert(), "threads"_a, "impl"_a);
}
