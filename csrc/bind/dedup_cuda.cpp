#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/cuda.h"
#include "dedup/sketch.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using bind::pointer;

void bind_dedup_cuda(py::module_& m) {
  m.def(
      "sketch_cuda",
      [](const bind::Pointers& p, std::size_t N, std::size_t K, std::uintptr_t stream) {
        bind::counted("sketch", p.size(), 5, 0, 0);
        const dedup::SketchArgs args{pointer<const std::uint64_t>(p[0]),
                                     pointer<const std::int64_t>(p[1]),
                                     pointer<const std::uint32_t>(p[2]),
                                     pointer<const std::uint32_t>(p[3]),
                                     pointer<std::uint32_t>(p[4]),
                                     N,
                                     K,
                                     1};
        py::gil_scoped_release nogil;
        return dedup::sketch_cuda(args, pointer<void>(stream));
      },
      "pointers"_a, "N"_a, "K"_a, "stream"_a, "shingles, offsets, a, b, sig on the device.");
}
