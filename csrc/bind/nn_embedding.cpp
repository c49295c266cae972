#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "nn/embedding.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_nn_embedding(py::module_& m) {
  m.def("embedding_impls", [] { return runnable(nn::embedding_impls()); });
  m.def(
      "embedding_backward",
      [](const py::array& dout, const bind::Array<std::int64_t>& ids, py::array& dweight,
         bind::Array<std::int64_t>& order, bind::Array<std::int64_t>& starts, bool is_zeroed, int threads,
         const std::string& impl) {
        const auto fn = pick(nn::embedding_impls(), "embedding", impl);
        nn::EmbeddingArgs p{};
        p.dout = dout.data(), p.ids = ids.data(), p.dweight = dweight.mutable_data();
        p.order = order.mutable_data(), p.starts = starts.mutable_data();
        p.N = static_cast<std::size_t>(ids.size());
        p.V = static_cast<std::size_t>(dweight.shape(0)), p.C = static_cast<std::size_t>(dweight.shape(1));
        p.bf16 = bind::is_bf16(dout, "embedding"), p.is_zeroed = is_zeroed, p.threads = threads;
        py::gil_scoped_release nogil;
        fn(p);
      },
      "dout"_a.noconvert(), "ids"_a.noconvert(), "dweight"_a.noconvert(), "order"_a.noconvert(),
      "starts"_a.noconvert(), "is_zeroed"_a, "threads"_a, "impl"_a);
}
