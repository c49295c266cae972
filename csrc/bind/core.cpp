#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/cuda.h"
#include "core/impl.h"

namespace py = pybind11;
using namespace fasttrain;

void bind_core(py::module_& m) {
  m.def("cuda_built", &cuda_built, "Whether this build holds the CUDA implementations.");
  m.def(
      "cpu_isas",
      [] {
        std::vector<std::string> names;
        for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512bf16})
          if (cpu_has(isa)) names.emplace_back(isa_name(isa));
        return names;
      },
      "Instruction sets of this CPU that an implementation may ask for.");
}
