#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "filter/word_list.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_filter_word_list(py::module_& m) {
  using Bytes = bind::Array<std::uint8_t>;
  using Nodes = bind::Array<std::int32_t>;
  using Places = bind::Array<std::int64_t>;
  m.def("word_list_impls", [] { return runnable(filter::word_list_impls()); });
  m.def(
      "word_list",
      [](const Bytes& data, const Places& offsets, const Nodes& which, Places& counts, const Nodes& roots,
         const Bytes& heads, const Bytes& pairs, const Bytes& firsts, const Nodes& edges, const Bytes& bytes,
         const Nodes& next, const Bytes& kinds, int window, int threads, const std::string& impl) {
        const auto fn = pick(filter::word_list_impls(), "word_list", impl);
        const filter::WordListArgs args{data.data(),
                                        offsets.data(),
                                        which.data(),
                                        counts.mutable_data(),
                                        roots.data(),
                                        heads.data(),
                                        pairs.data(),
                                        firsts.data(),
                                        edges.data(),
                                        bytes.data(),
                                        next.data(),
                                        kinds.data(),
                                        static_cast<std::size_t>(which.shape(0)),
                                        window,
                                        threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "which"_a.noconvert(), "counts"_a.noconvert(),
      "roots"_a.noconvert(), "heads"_a.noconvert(), "pairs"_a.noconvert(), "firsts"_a.noconvert(),
      "edges"_a.noconvert(), "bytes"_a.noconvert(), "next"_a.noconvert(), "kinds"_a.noconvert(), "window"_a,
      "threads"_a, "impl"_a);
}
