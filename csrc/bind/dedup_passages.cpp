#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "dedup/line_hashes.h"
#include "dedup/suffix_array.h"
#include "dedup/winnow.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_dedup_passages(py::module_& m) {
  m.def("line_hashes_impls", [] { return runnable(dedup::line_hashes_impls()); });
  m.def(
      "line_hashes",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& begins,
         const bind::Array<std::int64_t>& ends, bind::Array<std::uint64_t>& hash, bind::Array<std::int64_t>& words,
         bool digits, int threads, const std::string& impl) {
        const auto fn = pick(dedup::line_hashes_impls(), "line_hashes", impl);
        const dedup::LineHashesArgs args{data.data(),
                                         begins.data(),
                                         ends.data(),
                                         hash.mutable_data(),
                                         words.mutable_data(),
                                         static_cast<std::size_t>(begins.shape(0)),
                                         digits,
                                         threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "begins"_a.noconvert(), "ends"_a.noconvert(), "hash"_a.noconvert(), "words"_a.noconvert(),
      "digits"_a, "threads"_a, "impl"_a);

  m.def("suffix_array_impls", [] { return runnable(dedup::suffix_array_impls()); });
  m.def(
      "suffix_array",
      [](const bind::Array<std::uint8_t>& text, bind::Array<std::int32_t>& sa, bind::Array<std::int32_t>& lcp,
         const std::string& impl) {
        const auto fn = pick(dedup::suffix_array_impls(), "suffix_array", impl);
        const dedup::SuffixArrayArgs args{text.data(), sa.mutable_data(), lcp.mutable_data(),
                                          static_cast<std::size_t>(text.shape(0))};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "text"_a.noconvert(), "sa"_a.noconvert(), "lcp"_a.noconvert(), "impl"_a);

  m.def("winnow_impls", [] { return runnable(dedup::winnow_impls()); });
  m.def(
      "winnow",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets, std::size_t k, std::size_t w,
         bind::Array<std::uint64_t>& hash, bind::Array<std::int64_t>& text, bind::Array<std::int64_t>& begin,
         const std::string& impl) {
        const auto fn = pick(dedup::winnow_impls(), "winnow", impl);
        dedup::WinnowArgs args{data.data(),          offsets.data(),
                               hash.mutable_data(),  text.mutable_data(),
                               begin.mutable_data(), static_cast<std::size_t>(hash.shape(0)),
                               static_cast<std::size_t>(offsets.shape(0) - 1), k, w};
        {
          py::gil_scoped_release nogil;
          fn(args);
        }
        return args.found;
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "k"_a, "w"_a, "hash"_a.noconvert(), "text"_a.noconvert(),
      "begin"_a.noconvert(), "impl"_a);
}
