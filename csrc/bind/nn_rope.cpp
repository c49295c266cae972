#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "bind/addresses.h"
#include "nn/rope.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using bind::pointer;

void bind_nn_rope(py::module_& m) {
  m.def("rope_impls", [] { return runnable(nn::rope_impls()); });
  m.def(
      "rope",
      [](std::uintptr_t x, std::uintptr_t cos, std::uintptr_t sin, std::uintptr_t out,
         const std::array<std::size_t, 4>& shape, std::size_t Bt, bool bf16, bool inverse, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::rope_impls(), "rope", impl);
        nn::RopeArgs p{};
        p.x = pointer<const void>(x), p.cos = pointer<const float>(cos), p.sin = pointer<const float>(sin);
        p.out = pointer<void>(out);
        p.B = shape[0], p.T = shape[1], p.H = shape[2], p.D = shape[3], p.Bt = Bt;
        p.inverse = inverse, p.bf16 = bf16, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "x"_a, "cos"_a, "sin"_a, "out"_a, "shape"_a, "Bt"_a, "bf16"_a, "inverse"_a, "threads"_a, "impl"_a,
      "x, cos, sin and out by their addresses, contiguous; shape: B, T, H, D.");
}
