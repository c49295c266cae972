#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "nn/dropout.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_nn_dropout(py::module_& m) {
  m.def("dropout_impls", [] { return runnable(nn::dropout_impls()); });
  m.def(
      "dropout",
      [](const py::array& x, const bind::Array<std::int64_t>& rows, py::array& out, std::uint64_t seed,
         std::uint32_t step, std::uint32_t site, std::uint32_t threshold, float scale, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::dropout_impls(), "dropout", impl);
        nn::DropoutArgs p{};
        p.x = x.data(), p.rows = rows.data(), p.out = out.mutable_data();
        p.B = static_cast<std::size_t>(x.shape(0)), p.E = static_cast<std::size_t>(x.shape(1));
        p.seed = seed, p.step = step, p.site = site, p.threshold = threshold, p.scale = scale;
        p.bf16 = bind::is_bf16(x, "dropout"), p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "x"_a.noconvert(), "rows"_a.noconvert(), "out"_a.noconvert(), "seed"_a, "step"_a, "site"_a, "threshold"_a,
      "scale"_a, "threads"_a, "impl"_a);
}
