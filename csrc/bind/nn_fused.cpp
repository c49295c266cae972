#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/addresses.h"
#include "bind/arrays.h"
#include "nn/gelu.h"
#include "nn/linear_cross_entropy.h"
#include "nn/rms_norm.h"
#include "nn/swiglu.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using bind::pointer;

namespace {

using Floats = bind::Array<float>;
using Maybe = std::optional<py::array>;  // None, or fp32 or bf16
using bind::dim;

// Shapes come from y or dy; the face has checked that the others agree.
nn::RmsNormArgs rms_norm_arguments(const py::array& x, const py::array& stream, const Floats& weight, int threads) {
  nn::RmsNormArgs p{};
  p.N = dim(stream, 0), p.C = dim(stream, 1);
  p.x_bf16 = bind::is_bf16(x, "rms_norm"), p.r_bf16 = bind::is_bf16(stream, "rms_norm");
  p.weight = weight.data(), p.threads = threads;
  return p;
}

void bind_rms_norm(py::module_& m) {
  m.def("rms_norm_impls", [] { return runnable(nn::rms_norm_impls()); });
  m.def("rms_norm_parts", &nn::rms_norm_parts, "N"_a, "C"_a);
  m.def(
      "rms_norm",
      [](std::uintptr_t x, std::uintptr_t residual, std::uintptr_t weight, std::uintptr_t r, std::uintptr_t y,
         std::uintptr_t rstd, std::size_t N, std::size_t C, bool x_bf16, bool r_bf16, float eps, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::rms_norm_impls(), "rms_norm", impl);
        nn::RmsNormArgs p{};
        p.x = pointer<const void>(x), p.residual = pointer<const void>(residual);
        p.weight = pointer<const float>(weight);
        p.r = pointer<void>(r), p.y = pointer<void>(y), p.rstd = pointer<float>(rstd);
        p.N = N, p.C = C, p.x_bf16 = x_bf16, p.r_bf16 = r_bf16, p.eps = eps, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "x"_a, "residual"_a, "weight"_a, "r"_a, "y"_a, "rstd"_a, "N"_a, "C"_a, "x_bf16"_a, "r_bf16"_a, "eps"_a,
      "threads"_a, "impl"_a, "Tensors by their addresses, contiguous; 0 for those that a plain norm has not.");
  m.def(
      "rms_norm_backward",
      [](const py::array& dy, const Maybe& dr, py::array& r, const Floats& weight, Floats& rstd, py::array& dresidual,
         Maybe dx, Floats& dweight, Floats& parts, int threads, const std::string& impl) {
        const auto fn = pick(nn::rms_norm_backward_impls(), "rms_norm", impl);
        nn::RmsNormArgs p = rms_norm_arguments(dx ? *dx : dy, dy, weight, threads);
        p.dy = dy.data(), p.dr = bind::data(dr), p.r = r.mutable_data(), p.rstd = rstd.mutable_data();
        p.dresidual = dresidual.mutable_data(), p.dx = bind::mutable_data(dx);
        p.dweight = dweight.mutable_data(), p.parts = parts.mutable_data();
        py::gil_scoped_release nogil;
        fn(p);
      },
      "dy"_a.noconvert(), "dr"_a.noconvert(), "r"_a.noconvert(), "weight"_a.noconvert(), "rstd"_a.noconvert(),
      "dresidual"_a.noconvert(), "dx"_a.noconvert(), "dweight"_a.noconvert(), "parts"_a.noconvert(), "threads"_a,
      "impl"_a);
}

using Halves = bind::Array<std::uint16_t>;  // bf16, or half of the bits of fp32
using Work = bind::Array<std::uint32_t>;
using Targets = bind::Array<std::int64_t>;

std::uint16_t* lower_half(const py::array& sum, std::optional<Halves>& lower) {
  if (bind::is_bf16(sum, "linear_cross_entropy") != lower.has_value())
    throw py::value_error("linear_cross_entropy: sums are fp32, or halves of 16 bits in two arrays");
  return lower ? lower->mutable_data() : nullptr;
}

void bind_linear_cross_entropy(py::module_& m) {
  m.def("linear_cross_entropy_impls", [] { return runnable(nn::linear_cross_entropy_impls()); });
  m.def(
      "linear_cross_entropy",
      [](py::array& logits, const Targets& targets, const std::optional<Floats>& dnll,
         const std::optional<Floats>& dz2, Floats& nll, Floats& z2, float z_loss, bool gradient, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::linear_cross_entropy_impls(), "linear_cross_entropy", impl);
        nn::LinearCrossEntropyArgs p{};
        p.bf16 = bind::is_bf16(logits, "linear_cross_entropy");
        p.logits = logits.mutable_data(), p.targets = targets.data(), p.N = dim(logits, 0), p.V = dim(logits, 1);
        p.dnll = dnll ? dnll->data() : nullptr, p.dz2 = dz2 ? dz2->data() : nullptr;
        p.nll = nll.mutable_data(), p.z2 = z2.mutable_data();
        p.z_loss = z_loss, p.gradient = gradient, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "logits"_a.noconvert(), "targets"_a.noconvert(), "dnll"_a.noconvert(), "dz2"_a.noconvert(), "nll"_a.noconvert(),
      "z2"_a.noconvert(), "z_loss"_a, "gradient"_a, "threads"_a, "impl"_a);
  m.def(
      "accumulate",
      [](const py::array& part, py::array& sum, std::optional<Halves> lower, bool keep, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::accumulate_impls(), "linear_cross_entropy", impl);
        nn::AccumulateArgs p{};
        p.part = part.data(), p.N = static_cast<std::size_t>(part.size());
        p.sum = sum.mutable_data(), p.lower = lower_half(sum, lower);
        p.bf16 = bind::is_bf16(part, "accumulate"), p.keep = keep, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "part"_a.noconvert(), "sum"_a.noconvert(), "lower"_a.noconvert(), "keep"_a, "threads"_a, "impl"_a,
      "sum = or += part.");
  m.def(
      "join",
      [](Halves& upper, const Halves& lower, float scale, int threads, const std::string& impl) {
        const auto fn = pick(nn::join_impls(), "linear_cross_entropy", impl);
        nn::JoinArgs p{};
        p.upper = upper.mutable_data(), p.lower = lower.data(), p.N = static_cast<std::size_t>(upper.size());
        p.scale = scale, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "upper"_a.noconvert(), "lower"_a.noconvert(), "scale"_a, "threads"_a, "impl"_a, "upper = bf16(scale sum).");
  m.def("linear_loss_impls", [] { return runnable(nn::linear_loss_impls()); });
  m.def("linear_loss_work", &nn::loss_work, "N"_a, "C"_a, "is_cast"_a, "threads"_a,
        "Numbers of 32 bits.");
  m.def(
      "linear_loss",
      [](const Halves& x, const py::array& weight, const Targets& targets, const std::optional<Floats>& dnll,
         const std::optional<Floats>& dz2, Floats& nll, Floats& z2, Floats& factors, std::optional<Work> exps,
         std::optional<Halves> dx, Work& work, float z_loss, int threads, const std::string& impl) {
        const auto fn = pick(nn::linear_loss_impls(), "linear_cross_entropy", impl);
        nn::LossArgs p{};
        p.x = x.data(), p.weight = weight.data(), p.targets = targets.data();
        p.dnll = dnll ? dnll->data() : nullptr, p.dz2 = dz2 ? dz2->data() : nullptr;
        p.nll = nll.mutable_data(), p.z2 = z2.mutable_data(), p.factors = factors.mutable_data();
        p.exps = exps ? exps->mutable_data() : nullptr, p.dx = dx ? dx->mutable_data() : nullptr;
        p.work = work.mutable_data(), p.N = dim(x, 0), p.V = dim(weight, 0), p.C = dim(x, 1);
        p.z_loss = z_loss, p.bf16 = bind::is_bf16(weight, "linear_cross_entropy"), p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "x"_a.noconvert(), "weight"_a.noconvert(), "targets"_a.noconvert(), "dnll"_a.noconvert(), "dz2"_a.noconvert(),
      "nll"_a.noconvert(), "z2"_a.noconvert(), "factors"_a.noconvert(), "exps"_a.noconvert(), "dx"_a.noconvert(),
      "work"_a.noconvert(), "z_loss"_a, "threads"_a, "impl"_a, "Losses, exponentials and dx of a chunk of tokens.");
  m.def(
      "linear_dweight",
      [](const Work& exps, const Floats& factors, const Halves& x, const Targets& targets, py::array& sum,
         std::optional<Halves> lower, Work& work, bool keep, int threads, const std::string& impl) {
        const auto fn = pick(nn::linear_dweight_impls(), "linear_cross_entropy", impl);
        nn::DweightArgs p{};
        p.exps = exps.data(), p.factors = factors.data(), p.x = x.data(), p.targets = targets.data();
        p.sum = sum.mutable_data(), p.lower = lower_half(sum, lower), p.work = work.mutable_data();
        p.N = dim(x, 0), p.V = dim(sum, 0), p.C = dim(x, 1), p.keep = keep, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "exps"_a.noconvert(), "factors"_a.noconvert(), "x"_a.noconvert(), "targets"_a.noconvert(), "sum"_a.noconvert(),
      "lower"_a.noconvert(), "work"_a.noconvert(), "keep"_a, "threads"_a, "impl"_a, "sum = or += dlogits^T x.");
}

void bind_swiglu(py::module_& m) {
  m.def("swiglu_impls", [] { return runnable(nn::swiglu_impls()); });
  m.def(
      "swiglu",
      [](std::uintptr_t gate, std::uintptr_t up, std::uintptr_t out, std::size_t N, bool bf16, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::swiglu_impls(), "swiglu", impl);
        nn::SwigluArgs p{};
        p.gate = pointer<const void>(gate), p.up = pointer<const void>(up), p.out = pointer<void>(out);
        p.N = N, p.bf16 = bf16, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "gate"_a, "up"_a, "out"_a, "N"_a, "bf16"_a, "threads"_a, "impl"_a,
      "gate, up and out by their addresses, N values each.");
  m.def(
      "swiglu_backward",
      [](const py::array& dout, const py::array& gate, const py::array& up, py::array& dgate, py::array& dup,
         int threads, const std::string& impl) {
        const auto fn = pick(nn::swiglu_backward_impls(), "swiglu", impl);
        nn::SwigluArgs p{};
        p.gate = gate.data(), p.up = up.data(), p.dout = dout.data();
        p.dgate = dgate.mutable_data(), p.dup = dup.mutable_data();
        p.N = static_cast<std::size_t>(gate.size()), p.bf16 = bind::is_bf16(gate, "swiglu"), p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "dout"_a.noconvert(), "gate"_a.noconvert(), "up"_a.noconvert(), "dgate"_a.noconvert(), "dup"_a.noconvert(),
      "threads"_a, "impl"_a);
}

void bind_gelu(py::module_& m) {
  m.def("gelu_impls", [] { return runnable(nn::gelu_impls()); });
  m.def(
      "gelu",
      [](std::uintptr_t x, std::uintptr_t out, std::size_t N, bool bf16, int threads, const std::string& impl) {
        const auto fn = pick(nn::gelu_impls(), "gelu", impl);
        nn::GeluArgs p{};
        p.x = pointer<const void>(x), p.out = pointer<void>(out);
        p.N = N, p.bf16 = bf16, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "x"_a, "out"_a, "N"_a, "bf16"_a, "threads"_a, "impl"_a, "x and out by their addresses, N values each.");
  m.def(
      "gelu_backward",
      [](std::uintptr_t dout, std::uintptr_t x, std::uintptr_t dx, std::size_t N, bool bf16, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::gelu_backward_impls(), "gelu", impl);
        nn::GeluArgs p{};
        p.x = pointer<const void>(x), p.dout = pointer<const void>(dout), p.dx = pointer<void>(dx);
        p.N = N, p.bf16 = bf16, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "dout"_a, "x"_a, "dx"_a, "N"_a, "bf16"_a, "threads"_a, "impl"_a,
      "dout, x and dx by their addresses, N values each.");
}

}  // namespace

void bind_nn_fused(py::module_& m) {
  bind_rms_norm(m);
  bind_linear_cross_entropy(m);
  bind_swiglu(m);
  bind_gelu(m);
}
