#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>

#include "core/arena.h"
#include "core/cuda.h"
#include "core/impl.h"

namespace py = pybind11;
using namespace py::literals;
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
  m.def(
      "arena_empty",
      [](std::size_t bytes) -> std::optional<py::array_t<std::uint8_t>> {
        void* const block = arena().allocate(bytes);
        if (block == nullptr) return std::nullopt;
        const py::capsule owner(block, [](void* p) noexcept { arena().free(p); });
        return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(bytes), static_cast<std::uint8_t*>(block), owner);
      },
      "bytes"_a,
      "Uninitialised memory (bytes,) of the arena, which takes it back when it is freed; None: no room.");
  m.def(
      "arena_trim", [](std::size_t bytes) { arena().trim(bytes); }, "bytes"_a,
      "Give the system pages of free blocks, until they are `bytes` together.");
  m.def(
      "arena_bytes", [] { return std::pair{arena().used_bytes(), arena().held_bytes()}; },
      "Bytes of the arena in use, and held from the system.");
}
