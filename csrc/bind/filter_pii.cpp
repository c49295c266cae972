#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "filter/pii.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_filter_pii(py::module_& m) {
  m.def("pii_impls", [] { return runnable(filter::pii_impls()); });
  m.def(
      "pii_count",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::int64_t>& counts, int threads, const std::string& impl) {
        const auto fn = pick(filter::pii_impls(), "pii", impl);
        const filter::PiiArgs args{data.data(),
                                   offsets.data(),
                                   counts.mutable_data(),
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   static_cast<std::size_t>(counts.shape(0)),
                                   threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "counts"_a.noconvert(), "threads"_a, "impl"_a);
  m.def(
      "pii_fill",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         const bind::Array<std::int64_t>& starts, bind::Array<std::int64_t>& begins, bind::Array<std::int64_t>& ends,
         bind::Array<std::uint8_t>& kinds, int threads, const std::string& impl) {
        if (begins.shape(0) == 0) return;
        const auto fn = pick(filter::pii_impls(), "pii", impl);
        const filter::PiiArgs args{data.data(),
                                   offsets.data(),
                                   nullptr,
                                   starts.data(),
                                   begins.mutable_data(),
                                   ends.mutable_data(),
                                   kinds.mutable_data(),
                                   static_cast<std::size_t>(starts.shape(0)) - 1,
                                   threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "starts"_a.noconvert(), "begins"_a.noconvert(),
      "ends"_a.noconvert(), "kinds"_a.noconvert(), "threads"_a, "impl"_a);
}
