#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>

#include "bind/arrays.h"
#include "bind/optim.h"
#include "optim/adamw.h"
#include "optim/muon.h"
#include "optim/sum_squares.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

namespace {

// The coefficients cross as eight floats in the order of the struct.
optim::AdamwCoefficients coefficients(const bind::Array<float>& c) {
  optim::AdamwCoefficients out;
  static_assert(sizeof(out) == 8 * sizeof(float));
  if (c.size() != 8) throw std::invalid_argument("adamw: coefficients must hold 8 numbers");
  std::memcpy(&out, c.data(), sizeof(out));
  return out;
}

}  // namespace

void bind_optim(py::module_& m) {
  m.def("adamw_impls", [] { return runnable(optim::adamw_impls()); });
  m.def(
      "adamw",
      [](py::array& param, py::array& grad, bind::Array<float>& mean, bind::Array<float>& var,
         std::optional<bind::Array<std::uint16_t>> copy, const bind::Array<float>& c, bool zero_grad,
         std::uint64_t seed, std::uint32_t step, std::uint32_t stream, std::uint64_t offset, std::uint64_t width,
         std::uint64_t pitch, int threads, const std::string& impl) {
        const auto fn = pick(optim::adamw_impls(), "adamw", impl);
        const bool param_half = bind::is_bf16(param, "adamw"), grad_half = bind::is_bf16(grad, "adamw");
        optim::AdamwArgs args{};
        args.param = param_half ? nullptr : static_cast<float*>(param.mutable_data());
        args.half = static_cast<Bf16*>(param_half ? param.mutable_data() : copy ? copy->mutable_data() : nullptr);
        args.grad = grad_half ? nullptr : static_cast<const float*>(grad.data());
        args.grad_half = grad_half ? static_cast<const Bf16*>(grad.data()) : nullptr;
        args.zeroed = zero_grad ? grad.mutable_data() : nullptr;
        args.m = mean.mutable_data(), args.v = var.mutable_data();
        args.N = static_cast<std::size_t>(param.size()), args.c = coefficients(c), args.threads = threads;
        args.place = bind::place({seed, step, stream, offset, width, pitch});
        py::gil_scoped_release nogil;
        fn(args);
      },
      "param"_a.noconvert(), "grad"_a.noconvert(), "m"_a.noconvert(), "v"_a.noconvert(), "copy"_a.noconvert(),
      "coefficients"_a.noconvert(), "zero_grad"_a, "seed"_a, "step"_a, "stream"_a, "offset"_a, "width"_a, "pitch"_a,
      "threads"_a, "impl"_a);
  m.def("muon_impls", [] { return runnable(optim::muon_impls()); });
  m.def(
      "muon_momentum",
      [](bind::Array<float>& grad, bind::Array<float>& mean, float grad_scale, float one_minus_momentum, int threads,
         const std::string& impl) {
        const auto fn = pick(optim::muon_impls(), "muon", impl);
        optim::MuonArgs args{};
        args.grad = grad.mutable_data(), args.m = mean.mutable_data();
        args.grad_scale = grad_scale, args.one_minus_momentum = one_minus_momentum;
        args.N = static_cast<std::size_t>(grad.size()), args.threads = threads;
        py::gil_scoped_release nogil;
        fn(args);
      },
      "grad"_a.noconvert(), "m"_a.noconvert(), "grad_scale"_a, "one_minus_momentum"_a, "threads"_a, "impl"_a);
  m.def(
      "muon_step",
      [](py::array& param, const py::array& update, float keep, float rate, std::uint64_t seed, std::uint32_t step,
         std::uint32_t stream, std::uint64_t offset, std::uint64_t width, std::uint64_t pitch, int threads,
         const std::string& impl) {
        const auto fn = pick(optim::muon_step_impls(), "muon", impl);
        const bool param_half = bind::is_bf16(param, "muon"), update_half = bind::is_bf16(update, "muon");
        optim::MuonArgs args{};
        args.param = param_half ? nullptr : static_cast<float*>(param.mutable_data());
        args.half = param_half ? static_cast<Bf16*>(param.mutable_data()) : nullptr;
        args.update = update_half ? nullptr : static_cast<const float*>(update.data());
        args.update_half = update_half ? static_cast<const Bf16*>(update.data()) : nullptr;
        args.keep = keep, args.rate = rate;
        args.place = bind::place({seed, step, stream, offset, width, pitch});
        args.N = static_cast<std::size_t>(param.size()), args.threads = threads;
        py::gil_scoped_release nogil;
        fn(args);
      },
      "param"_a.noconvert(), "update"_a.noconvert(), "keep"_a, "rate"_a, "seed"_a, "step"_a, "stream"_a, "offset"_a,
      "width"_a, "pitch"_a, "threads"_a, "impl"_a);
  m.def("sum_squares_impls", [] { return runnable(optim::sum_squares_impls()); });
  m.def(
      "sum_squares",
      [](const bind::Array<float>& x, bind::Array<double>& out, int threads, const std::string& impl) {
        const auto fn = pick(optim::sum_squares_impls(), "sum_squares", impl);
        const optim::SumSquaresArgs args{x.data(), out.mutable_data(), static_cast<std::size_t>(x.size()), threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a, "impl"_a);
}
