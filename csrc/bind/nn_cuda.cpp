#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/cuda.h"
#include "nn/attention_cuda.h"
#include "nn/dropout_cuda.h"
#include "nn/gelu_cuda.h"
#include "nn/linear_cross_entropy_cuda.h"
#include "nn/rms_norm_cuda.h"
#include "nn/rope_cuda.h"
#include "nn/swiglu_cuda.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using bind::pointer;

namespace {

nn::AttentionTensorArgs attention_arguments(const bind::Pointers& p, const bind::Sizes& n, float scale) {
  bind::counted("attention", p.size(), 13, n.size(), 7);
  return {pointer<const void>(p[0]),
          pointer<const void>(p[1]),
          pointer<const void>(p[2]),
          pointer<const std::int32_t>(p[3]),
          pointer<const std::int32_t>(p[4]),
          pointer<void>(p[5]),
          pointer<float>(p[6]),
          pointer<const void>(p[7]),
          pointer<void>(p[8]),
          pointer<void>(p[9]),
          pointer<void>(p[10]),
          pointer<float>(p[11]),
          pointer<std::int32_t>(p[12]),
          n[0],
          n[1],
          n[2],
          n[3],
          n[4],
          n[5],
          n[6],
          scale};
}

void bind_attention_cuda(py::module_& m) {
  m.attr("attention_range_block") = nn::attention_range_block;
  m.def(
      "attention_tensor",
      [](const bind::Pointers& pointers, const bind::Sizes& sizes, float scale, bool backward, bool wgmma,
         std::uintptr_t stream) {
        const auto p = attention_arguments(pointers, sizes, scale);
        const auto fn = wgmma ? backward ? nn::attention_wgmma_backward : nn::attention_wgmma_forward
                        : backward ? nn::attention_mma_backward
                                   : nn::attention_mma_forward;
        py::gil_scoped_release nogil;
        return fn(p, pointer<void>(stream));
      },
      "pointers"_a, "sizes"_a, "scale"_a, "backward"_a, "wgmma"_a, "stream"_a,
      "q, k, v, lo, hi, out, lse, dout, dq, dk, dv, rows, ranges on the device; B, Bm, Tq, Tk, H, Hkv, D.");
}

void bind_rms_norm_cuda(py::module_& m) {
  m.attr("rms_norm_cuda_max_C") = nn::rms_norm_cuda_max_C;
  m.attr("rms_norm_cuda_parts") = nn::rms_norm_cuda_parts;
  m.def(
      "rms_norm_cuda",
      [](const bind::Pointers& p, const bind::Sizes& n, float eps, bool x_bf16, bool r_bf16, bool y_bf16,
         bool backward, std::uintptr_t stream) {
        bind::counted("rms_norm", p.size(), 12, n.size(), 2);
        const nn::RmsNormArgs args{pointer<const void>(p[0]),
                                   pointer<const void>(p[1]),
                                   pointer<const float>(p[2]),
                                   pointer<void>(p[3]),
                                   pointer<void>(p[4]),
                                   pointer<float>(p[5]),
                                   pointer<const void>(p[6]),
                                   pointer<const void>(p[7]),
                                   pointer<void>(p[8]),
                                   pointer<void>(p[9]),
                                   pointer<float>(p[10]),
                                   pointer<float>(p[11]),
                                   n[0],
                                   n[1],
                                   eps,
                                   x_bf16,
                                   r_bf16,
                                   0};
        py::gil_scoped_release nogil;
        return (backward ? nn::rms_norm_backward_cuda : nn::rms_norm_cuda)(args, y_bf16, pointer<void>(stream));
      },
      "pointers"_a, "sizes"_a, "eps"_a, "x_bf16"_a, "r_bf16"_a, "y_bf16"_a, "backward"_a, "stream"_a,
      "x, residual, weight, r, y, rstd, dy, dr, dresidual, dx, dweight, parts on the device; N, C.");
}

void bind_swiglu_cuda(py::module_& m) {
  m.def(
      "swiglu_cuda",
      [](const bind::Pointers& p, const bind::Sizes& n, bool bf16, bool backward, std::uintptr_t stream) {
        bind::counted("swiglu", p.size(), 5, n.size(), 2);
        const nn::SwigluArgs args{pointer<const void>(p[0]),
                                  pointer<const void>(p[1]),
                                  pointer<void>(p[2]),
                                  pointer<const void>(p[3]),
                                  pointer<void>(p[4]),
                                  nullptr,
                                  n[0] * n[1],
                                  bf16,
                                  0};
        py::gil_scoped_release nogil;
        if (backward) return nn::swiglu_backward_cuda(args, n[1], pointer<void>(stream));
        return nn::swiglu_cuda(args, pointer<void>(stream));
      },
      "pointers"_a, "sizes"_a, "bf16"_a, "backward"_a, "stream"_a,
      "gate, up, out, dout, and dgate with dup at its side, on the device; sizes: rows, columns.");
}

void bind_dropout_cuda(py::module_& m) {
  m.def(
      "dropout_cuda",
      [](const bind::Pointers& p, const bind::Sizes& n, std::uint64_t seed, std::uint32_t step, std::uint32_t site,
         std::uint32_t threshold, float scale, bool bf16, std::uintptr_t stream) {
        bind::counted("dropout", p.size(), 3, n.size(), 2);
        const nn::DropoutArgs args{pointer<const void>(p[0]),
                                   pointer<const std::int64_t>(p[1]),
                                   pointer<void>(p[2]),
                                   n[0],
                                   n[1],
                                   seed,
                                   step,
                                   site,
                                   threshold,
                                   scale,
                                   bf16,
                                   0};
        py::gil_scoped_release nogil;
        return nn::dropout_cuda(args, pointer<void>(stream));
      },
      "pointers"_a, "sizes"_a, "seed"_a, "step"_a, "site"_a, "threshold"_a, "scale"_a, "bf16"_a, "stream"_a,
      "x, rows, out on the device; B, E.");
}

void bind_gelu_cuda(py::module_& m) {
  m.def(
      "gelu_cuda",
      [](const bind::Pointers& p, std::size_t N, bool bf16, bool backward, std::uintptr_t stream) {
        bind::counted("gelu", p.size(), 4, 0, 0);
        nn::GeluArgs args{};
        args.x = pointer<const void>(p[0]), args.out = pointer<void>(p[1]);
        args.dout = pointer<const void>(p[2]), args.dx = pointer<void>(p[3]);
        args.N = N, args.bf16 = bf16;
        py::gil_scoped_release nogil;
        return (backward ? nn::gelu_backward_cuda : nn::gelu_cuda)(args, pointer<void>(stream));
      },
      "pointers"_a, "N"_a, "bf16"_a, "backward"_a, "stream"_a, "x, out, dout, dx on the device.");
}

void bind_rope_cuda(py::module_& m) {
  m.def(
      "rope_cuda",
      [](const bind::Pointers& p, const bind::Sizes& n, bool bf16, bool inverse, std::uintptr_t stream) {
        bind::counted("rope", p.size(), 4, n.size(), 5);
        nn::RopeArgs args{};
        args.x = pointer<const void>(p[0]), args.out = pointer<void>(p[3]);
        args.cos = pointer<const float>(p[1]), args.sin = pointer<const float>(p[2]);
        args.B = n[0], args.T = n[1], args.H = n[2], args.D = n[3], args.Bt = n[4];
        args.bf16 = bf16, args.inverse = inverse;
        py::gil_scoped_release nogil;
        return nn::rope_cuda(args, pointer<void>(stream));
      },
      "pointers"_a, "sizes"_a, "bf16"_a, "inverse"_a, "stream"_a, "x, cos, sin, out on the device; B, T, H, D, Bt.");
}

void bind_linear_cross_entropy_cuda(py::module_& m) {
  m.def(
      "linear_cross_entropy_cuda",
      [](const bind::Pointers& p, const bind::Sizes& n, float z_loss, bool bf16, bool gradient, std::uintptr_t stream) {
        bind::counted("linear_cross_entropy", p.size(), 6, n.size(), 3);
        nn::LinearCrossEntropyArgs args{};
        args.logits = pointer<void>(p[0]), args.targets = pointer<const std::int64_t>(p[1]);
        args.dnll = pointer<const float>(p[2]), args.dz2 = pointer<const float>(p[3]);
        args.nll = pointer<float>(p[4]), args.z2 = pointer<float>(p[5]);
        args.N = n[0], args.V = n[1], args.z_loss = z_loss, args.bf16 = bf16, args.gradient = gradient;
        py::gil_scoped_release nogil;
        return nn::linear_cross_entropy_cuda(args, n[2], pointer<void>(stream));
      },
      "pointers"_a, "sizes"_a, "z_loss"_a, "bf16"_a, "gradient"_a, "stream"_a,
      "logits, targets, dnll, dz2, nll, z2 on the device; N, V, pitch.");
}

}  // namespace

void bind_nn_cuda(py::module_& m) {
  bind_attention_cuda(m);
  bind_dropout_cuda(m);
  bind_gelu_cuda(m);
  bind_linear_cross_entropy_cuda(m);
  bind_rms_norm_cuda(m);
  bind_rope_cuda(m);
  bind_swiglu_cuda(m);
}
