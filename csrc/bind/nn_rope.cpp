#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "nn/rope.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_nn_rope(py::module_& m) {
  m.def("rope_impls", [] { return runnable(nn::rope_impls()); });
  m.def(
      "rope",
      [](const py::array& x, const bind::Array<float>& cos, const bind::Array<float>& sin, py::array& out, bool inverse,
         int threads, const std::string& impl) {
        const auto fn = pick(nn::rope_impls(), "rope", impl);
        const auto dim = [](const py::array& a, int i) { return static_cast<std::size_t>(a.shape(i)); };
        nn::RopeArgs p{};
        p.x = x.data(), p.cos = cos.data(), p.sin = sin.data(), p.out = out.mutable_data();
        p.B = dim(x, 0), p.T = dim(x, 1), p.H = dim(x, 2), p.D = dim(x, 3), p.Bt = dim(cos, 0);
        p.inverse = inverse, p.bf16 = bind::is_bf16(x, "rope"), p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "x"_a.noconvert(), "cos"_a.noconvert(), "sin"_a.noconvert(), "out"_a.noconvert(), "inverse"_a, "threads"_a,
      "impl"_a);
}
