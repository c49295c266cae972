#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "decontam/ngram_overlap.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_decontam(py::module_& m) {
  m.def("ngram_overlap_impls", [] { return runnable(decontam::ngram_overlap_impls()); });
  // `words` and `grams` empty: count into `counts`; else fill from `starts`.
  m.def(
      "ngram_overlap",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         const bind::Array<std::int64_t>& texts, const bind::Array<std::uint64_t>& keys,
         const bind::Array<std::uint64_t>& filter, bind::Array<std::int64_t>& counts,
         const bind::Array<std::int64_t>& starts, bind::Array<std::int64_t>& words, bind::Array<std::int64_t>& grams,
         std::size_t n, int threads, const std::string& impl) {
        const auto fn = pick(decontam::ngram_overlap_impls(), "ngram_overlap", impl);
        const bool fill = words.shape(0) > 0;
        const decontam::NgramOverlapArgs args{data.data(),
                                              offsets.data(),
                                              texts.data(),
                                              keys.data(),
                                              filter.data(),
                                              fill ? nullptr : counts.mutable_data(),
                                              starts.data(),
                                              fill ? words.mutable_data() : nullptr,
                                              fill ? grams.mutable_data() : nullptr,
                                              static_cast<std::size_t>(texts.shape(0)),
                                              static_cast<std::size_t>(keys.shape(0)),
                                              static_cast<std::size_t>(filter.shape(0)),
                                              n,
                                              threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "texts"_a.noconvert(), "keys"_a.noconvert(),
      "filter"_a.noconvert(), "counts"_a.noconvert(), "starts"_a.noconvert(), "words"_a.noconvert(),
      "grams"_a.noconvert(), "n"_a, "threads"_a, "impl"_a);
}
