#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "filter/c4_lines.h"
#include "filter/text_stats.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_filter_pii(py::module_&);

void bind_filter(py::module_& m) {
  bind_filter_pii(m);
  m.def("text_stats_impls", [] { return runnable(filter::text_stats_impls()); });
  m.def(
      "text_stats",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::int64_t>& out, bind::Array<std::int64_t>& bad, std::uint32_t c4_flags,
         std::size_t c4_min_words, std::size_t c4_max_word_chars, std::size_t short_line_chars, int threads,
         const std::string& impl) {
        const auto fn = pick(filter::text_stats_impls(), "text_stats", impl);
        if (out.ndim() != 2 || out.shape(1) != filter::num_stats)
          throw std::invalid_argument("text_stats: this build and its Python face count different columns; rebuild");
        const filter::TextStatsArgs args{data.data(),
                                         offsets.data(),
                                         out.mutable_data(),
                                         bad.mutable_data(),
                                         static_cast<std::size_t>(out.shape(0)),
                                         {c4_flags, c4_min_words, c4_max_word_chars},
                                         short_line_chars,
                                         threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "bad"_a.noconvert(), "c4_flags"_a,
      "c4_min_words"_a, "c4_max_word_chars"_a, "short_line_chars"_a, "threads"_a, "impl"_a);
  m.def("c4_lines_impls", [] { return runnable(filter::c4_lines_impls()); });
  m.def(
      "c4_lines",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::uint8_t>& out, bind::Array<std::int64_t>& out_offsets, bind::Array<std::int64_t>& bad,
         std::uint32_t c4_flags, std::size_t c4_min_words, std::size_t c4_max_word_chars, int threads,
         const std::string& impl) {
        const auto fn = pick(filter::c4_lines_impls(), "c4_lines", impl);
        const filter::C4LinesArgs args{data.data(),
                                       offsets.data(),
                                       out.mutable_data(),
                                       out_offsets.mutable_data(),
                                       bad.mutable_data(),
                                       static_cast<std::size_t>(out_offsets.shape(0)) - 1,
                                       {c4_flags, c4_min_words, c4_max_word_chars},
                                       threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "out_offsets"_a.noconvert(),
      "bad"_a.noconvert(), "c4_flags"_a, "c4_min_words"_a, "c4_max_word_chars"_a, "threads"_a, "impl"_a);
}
