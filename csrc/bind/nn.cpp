#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "bind/addresses.h"
#include "bind/arrays.h"
#include "core/cuda.h"
#include "nn/attention.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

namespace {

using Floats = bind::Array<float>;
using Ints = bind::Array<std::int32_t>;
using bind::dim;

// A (B, T, heads, D) array of fp32, or of bf16 as uint16, whose D values lie together.
nn::Strided strided(const py::array& a, bool bf16) {
  const auto size = static_cast<py::ssize_t>(bf16 ? sizeof(std::uint16_t) : sizeof(float));
  const bool right = bf16 ? py::isinstance<py::array_t<std::uint16_t>>(a) : py::isinstance<py::array_t<float>>(a);
  if (!right || a.ndim() != 4) throw py::type_error("attention: arrays must be (B, T, H, D) of one dtype");
  for (int i = 0; i < 4 && a.size() > 0; ++i)
    if (a.strides(i) < 0 || a.strides(i) % size != 0 || (i == 3 && a.shape(i) > 1 && a.strides(i) != size))
      throw py::value_error("attention: the values of a head must lie together");
  const auto step = [&](int i) { return static_cast<std::size_t>(a.strides(i) / size); };
  return {a.data(), step(0), step(1), step(2)};
}

void* contiguous(py::array& a, bool bf16) {
  if (bind::is_bf16(a, "attention") != bf16) throw py::type_error("attention: arrays must have one dtype");
  return a.mutable_data();
}

// Shapes come from q, k and lo; the face has checked that the others agree.
nn::AttentionArgs arguments(const py::array& q, const py::array& k, const py::array& v, const Ints& lo, const Ints& hi,
                            float scale, float softcap, int threads) {
  nn::AttentionArgs p{};
  p.bf16 = py::isinstance<py::array_t<std::uint16_t>>(q);
  p.q = strided(q, p.bf16), p.k = strided(k, p.bf16), p.v = strided(v, p.bf16), p.lo = lo.data(), p.hi = hi.data();
  p.B = dim(q, 0), p.Tq = dim(q, 1), p.H = dim(q, 2), p.D = dim(q, 3);
  p.Bm = dim(lo, 0), p.Tk = dim(k, 1), p.Hkv = dim(k, 2);
  p.scale = scale, p.softcap = softcap, p.threads = threads;
  return p;
}

using Four = std::array<std::size_t, 4>;

// A decoding step without a gradient: at most attention_few queries a kv head, whose ranges are made here (those of
// key_ranges in fasttrain/nn/segments.py); no statistics are kept.
void attention_step(std::uintptr_t q, std::uintptr_t k, std::uintptr_t v, std::uintptr_t out, const Four& q_shape,
                    const Four& k_shape, const Four& q_strides, const Four& k_strides, const Four& v_strides, bool bf16,
                    bool causal, std::int32_t window, float scale, float softcap, int threads,
                    const std::string& impl) {
  const auto fn = pick(nn::attention_impls(), "attention", impl);
  const auto place = [](std::uintptr_t x, const Four& s) {
    return nn::Strided{bind::pointer<const void>(x), s[0], s[1], s[2]};
  };
  nn::AttentionArgs p{};
  p.q = place(q, q_strides), p.k = place(k, k_strides), p.v = place(v, v_strides), p.out = bind::pointer<void>(out);
  p.B = q_shape[0], p.Bm = 1, p.Tq = q_shape[1], p.H = q_shape[2], p.D = q_shape[3];
  p.Tk = k_shape[1], p.Hkv = k_shape[2], p.scale = scale, p.softcap = softcap, p.bf16 = bf16, p.threads = threads;
  if (!nn::attention_is_decode(p.Tq, p.H, p.Hkv)) throw std::invalid_argument("attention: too many queries for a step");
  std::array<std::int32_t, nn::attention_few> lo, hi;
  const auto keys = static_cast<std::int32_t>(p.Tk), queries = static_cast<std::int32_t>(p.Tq);
  for (std::int32_t i = 0; i < queries; ++i) {
    const std::int32_t behind = keys - queries + 1 + i;
    lo[i] = window == 0 ? 0 : std::max(0, behind - window);
    hi[i] = causal ? behind : keys;
    if (window != 0) hi[i] = std::max(lo[i], std::min(hi[i], behind + window - 1));
  }
  p.lo = lo.data(), p.hi = hi.data();
  const auto work = std::make_unique_for_overwrite<float[]>(
      nn::attention_work(p.B, p.Tq, p.Tk, p.H, p.Hkv, p.D, bf16, false));
  p.work = work.get();
  py::gil_scoped_release nogil;
  fn(p);
}

}  // namespace

void bind_nn(py::module_& m) {
  m.attr("attention_max_D") = nn::attention_max_D;
  m.def("attention_impls", [] { return runnable(nn::attention_impls()); });
  m.def("attention_work", &nn::attention_work, "B"_a, "Tq"_a, "Tk"_a, "H"_a, "Hkv"_a, "D"_a, "bf16"_a, "backward"_a);
  m.def(
      "attention",
      [](const py::array& q, const py::array& k, const py::array& v, const Ints& lo, const Ints& hi, py::array& out,
         Floats& stats, Floats& work, float scale, float softcap, int threads, const std::string& impl) {
        const auto fn = pick(nn::attention_impls(), "attention", impl);
        nn::AttentionArgs p = arguments(q, k, v, lo, hi, scale, softcap, threads);
        p.out = contiguous(out, p.bf16), p.stats = stats.mutable_data(), p.work = work.mutable_data();
        py::gil_scoped_release nogil;
        fn(p);
      },
      "q"_a.noconvert(), "k"_a.noconvert(), "v"_a.noconvert(), "lo"_a.noconvert(), "hi"_a.noconvert(),
      "out"_a.noconvert(), "stats"_a.noconvert(), "work"_a.noconvert(), "scale"_a, "softcap"_a, "threads"_a, "impl"_a);
  m.def("attention_step", &attention_step, "q"_a, "k"_a, "v"_a, "out"_a, "q_shape"_a, "k_shape"_a, "q_strides"_a,
        "k_strides"_a, "v_strides"_a, "bf16"_a, "causal"_a, "window"_a, "scale"_a, "softcap"_a, "threads"_a, "impl"_a,
        "q, k, v, out by their addresses, out contiguous; shapes and strides as torch gives them; window 0: none.");
  m.attr("attention_few") = nn::attention_few;
  m.def(
      "attention_backward",
      [](const py::array& q, const py::array& k, const py::array& v, const Ints& lo, const Ints& hi, py::array& out,
         Floats& stats, const py::array& dout, py::array& dq, py::array& dk, py::array& dv, Floats& work, float scale,
         float softcap, int threads, const std::string& impl) {
        const auto fn = pick(nn::attention_backward_impls(), "attention", impl);
        nn::AttentionArgs p = arguments(q, k, v, lo, hi, scale, softcap, threads);
        p.out = contiguous(out, p.bf16), p.stats = stats.mutable_data(), p.work = work.mutable_data();
        p.dout = strided(dout, p.bf16);
        p.dq = contiguous(dq, p.bf16), p.dk = contiguous(dk, p.bf16), p.dv = contiguous(dv, p.bf16);
        py::gil_scoped_release nogil;
        fn(p);
      },
      "q"_a.noconvert(), "k"_a.noconvert(), "v"_a.noconvert(), "lo"_a.noconvert(), "hi"_a.noconvert(),
      "out"_a.noconvert(), "stats"_a.noconvert(), "dout"_a.noconvert(), "dq"_a.noconvert(), "dk"_a.noconvert(),
      "dv"_a.noconvert(), "work"_a.noconvert(), "scale"_a, "softcap"_a, "threads"_a, "impl"_a);
  m.def(
      "attention_cuda",
      [](const std::vector<std::uintptr_t>& pointers, const std::vector<std::size_t>& sizes, float scale, bool bf16,
         std::uintptr_t stream) {
        if (pointers.size() != 7 || sizes.size() != 7) throw std::invalid_argument("attention: 7 pointers and 7 sizes");
        const nn::AttentionCudaArgs p{reinterpret_cast<const void*>(pointers[0]),
                                      reinterpret_cast<const void*>(pointers[1]),
                                      reinterpret_cast<const void*>(pointers[2]),
                                      reinterpret_cast<const std::int32_t*>(pointers[3]),
                                      reinterpret_cast<const std::int32_t*>(pointers[4]),
                                      reinterpret_cast<void*>(pointers[5]),
                                      reinterpret_cast<float*>(pointers[6]),
                                      sizes[0],
                                      sizes[1],
                                      sizes[2],
                                      sizes[3],
                                      sizes[4],
                                      sizes[5],
                                      sizes[6],
                                      scale,
                                      bf16};
        py::gil_scoped_release nogil;
        return nn::attention_cuda(p, reinterpret_cast<void*>(stream));
      },
      "pointers"_a, "sizes"_a, "scale"_a, "bf16"_a, "stream"_a,
      "q, k, v, lo, hi, out, stats on the device; B, Bm, Tq, Tk, H, Hkv, D.");
}
