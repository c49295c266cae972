#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>

#include "bind/arrays.h"
#include "bind/cuda.h"
#include "bind/optim.h"
#include "optim/adamw_cuda.h"
#include "optim/muon_cuda.h"
#include "optim/sum_squares.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using bind::pointer;

void bind_optim_cuda(py::module_& m) {
  m.attr("sum_squares_block") = optim::sum_squares_block;
  m.def(
      "adamw_cuda",
      [](const bind::Pointers& p, std::size_t N, const bind::Array<float>& coefficients, bool zero,
         const bind::PlaceNumbers& place, std::uintptr_t stream) {
        bind::counted("adamw", p.size(), 6, 0, 0);
        optim::AdamwCudaArgs args{pointer<float>(p[0]),
                                  pointer<float>(p[1]),
                                  pointer<float>(p[2]),
                                  pointer<float>(p[3]),
                                  pointer<void>(p[4]),
                                  pointer<const float>(p[5]),
                                  N,
                                  {},
                                  zero,
                                  bind::place(place)};
        if (coefficients.size() != 8) throw std::invalid_argument("adamw: coefficients must hold 8 numbers");
        static_assert(sizeof(args.c) == 8 * sizeof(float));
        std::memcpy(&args.c, coefficients.data(), sizeof(args.c));
        py::gil_scoped_release nogil;
        return optim::adamw_flat_cuda(args, pointer<void>(stream));
      },
      "pointers"_a, "N"_a, "coefficients"_a.noconvert(), "zero"_a, "place"_a, "stream"_a,
      "param, grad, m, v, copy, scale on the device; place: seed, step, stream, offset, width, pitch.");
  m.def(
      "adamw_pieces_cuda",
      [](const bind::Pointers& p, const bind::Sizes& sizes, const bind::Array<float>& coefficients, bool zero,
         std::uintptr_t stream) {
        const std::size_t K = sizes.size();
        bind::counted("adamw", p.size(), 5 * K, static_cast<std::size_t>(coefficients.size()), 8 * K);
        const float* const c = coefficients.data();
        py::gil_scoped_release nogil;
        for (std::size_t k = 0; k < K; ++k) {
          const auto* const q = p.data() + 5 * k;
          optim::AdamwCudaArgs args{.param = pointer<float>(q[0]),
                                    .grad = pointer<float>(q[1]),
                                    .m = pointer<float>(q[2]),
                                    .v = pointer<float>(q[3]),
                                    .copy = pointer<void>(q[4]),
                                    .scale = nullptr,
                                    .N = sizes[k],
                                    .c = {},
                                    .zero = zero};
          std::memcpy(&args.c, c + 8 * k, sizeof(args.c));
          if (const int status = optim::adamw_flat_cuda(args, pointer<void>(stream)); status != 0) return status;
        }
        return 0;
      },
      "pointers"_a, "sizes"_a, "coefficients"_a.noconvert(), "zero"_a, "stream"_a,
      "param (fp32), grad, m, v, copy of each piece on the device; values of each; coefficients (K, 8).");
  m.def(
      "muon_step_cuda",
      [](const bind::Pointers& p, std::size_t N, float keep, float rate, const bind::PlaceNumbers& place,
         std::uintptr_t stream) {
        bind::counted("muon", p.size(), 4, 0, 0);
        optim::MuonArgs args{};
        args.param = pointer<float>(p[0]), args.half = pointer<Bf16>(p[1]);
        args.update = pointer<const float>(p[2]), args.update_half = pointer<const Bf16>(p[3]);
        args.keep = keep, args.rate = rate, args.place = bind::place(place), args.N = N;
        py::gil_scoped_release nogil;
        return optim::muon_step_cuda(args, pointer<void>(stream));
      },
      "pointers"_a, "N"_a, "keep"_a, "rate"_a, "place"_a, "stream"_a,
      "fp32 parameters or bf16 ones, fp32 update or bf16 one on the device, the others null; place: as of adamw_cuda.");
  m.def(
      "sum_squares_cuda",
      [](const bind::Pointers& tensors, const bind::Sizes& sizes, std::uintptr_t out, std::uintptr_t stream) {
        bind::counted("sum_squares", tensors.size(), sizes.size(), 0, 0);
        py::gil_scoped_release nogil;
        std::vector<optim::SumSquaresPiece> pieces;
        std::size_t first = 0;
        for (std::size_t k = 0; k < sizes.size(); ++k) {
          pieces.push_back({pointer<const float>(tensors[k]), sizes[k], first});
          first += (sizes[k] + optim::sum_squares_block - 1) / optim::sum_squares_block;
        }
        return optim::sum_squares_cuda(pieces.data(), pieces.size(), pointer<double>(out), pointer<void>(stream));
      },
      "tensors"_a, "sizes"_a, "out"_a, "stream"_a, "fp32 tensors and fp64 sums of their blocks on the device.");
  m.def(
      "clip_cuda",
      [](std::uintptr_t blocks, std::uintptr_t out, std::size_t P, float clip, std::uintptr_t stream) {
        py::gil_scoped_release nogil;
        return optim::clip_cuda(pointer<const double>(blocks), pointer<float>(out), P, clip, pointer<void>(stream));
      },
      "blocks"_a, "out"_a, "P"_a, "clip"_a, "stream"_a);
}
