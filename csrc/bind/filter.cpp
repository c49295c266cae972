#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "filter/line_edit.h"
#include "filter/text_stats.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

void bind_filter_pii(py::module_&);
void bind_filter_url_list(py::module_&);
void bind_filter_fasttext(py::module_&);
void bind_filter_word_list(py::module_&);

void bind_filter(py::module_& m) {
  bind_filter_pii(m);
  bind_filter_url_list(m);
  bind_filter_fasttext(m);
  bind_filter_word_list(m);
  py::class_<filter::LineRules>(m, "LineRules")
      .def(py::init([](std::uint32_t c4_flags, std::size_t c4_min_words, std::size_t c4_max_word_chars,
                       std::uint32_t rw_flags, double rw_max_uppercase, std::size_t rw_min_words,
                       std::size_t rw_max_phrase_words) {
             return filter::LineRules{c4_flags,         c4_min_words, c4_max_word_chars,  rw_flags,
                                      rw_max_uppercase, rw_min_words, rw_max_phrase_words};
           }),
           "c4_flags"_a, "c4_min_words"_a, "c4_max_word_chars"_a, "rw_flags"_a, "rw_max_uppercase"_a, "rw_min_words"_a,
           "rw_max_phrase_words"_a);
  m.def("text_stats_impls", [] { return runnable(filter::text_stats_impls()); });
  m.def(
      "text_stats",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         bind::Array<std::int64_t>& out, bind::Array<std::int64_t>& bad, const bind::Array<std::uint8_t>& edit,
         bind::Array<std::uint8_t>& edited, bind::Array<std::int64_t>& edited_offsets, const filter::LineRules& rules,
         std::size_t short_line_chars, int threads, const std::string& impl) {
        const auto fn = pick(filter::text_stats_impls(), "text_stats", impl);
        if (out.ndim() != 2 || out.shape(1) != filter::num_stats)
          throw std::invalid_argument("text_stats: this build and its Python face count different columns; rebuild");
        const bool edits = edited_offsets.size() > 0;
        const filter::TextStatsArgs args{data.data(),
                                         offsets.data(),
                                         out.mutable_data(),
                                         bad.mutable_data(),
                                         edits ? edit.data() : nullptr,
                                         edits ? edited.mutable_data() : nullptr,
                                         edits ? edited_offsets.mutable_data() : nullptr,
                                         static_cast<std::size_t>(out.shape(0)),
                                         rules,
                                         short_line_chars,
                                         threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "bad"_a.noconvert(), "edit"_a.noconvert(),
      "edited"_a.noconvert(), "edited_offsets"_a.noconvert(), "rules"_a, "short_line_chars"_a, "threads"_a, "impl"_a);
  m.def("line_edit_impls", [] { return runnable(filter::line_edit_impls()); });
  m.def(
      "line_edit",
      [](const bind::Array<std::uint8_t>& data, const bind::Array<std::int64_t>& offsets,
         const bind::Array<std::uint8_t>& edit, bind::Array<std::uint8_t>& out, bind::Array<std::int64_t>& out_offsets,
         bind::Array<std::int64_t>& bad, const filter::LineRules& rules, int threads, const std::string& impl) {
        const auto fn = pick(filter::line_edit_impls(), "line_edit", impl);
        const filter::LineEditArgs args{data.data(),
                                        offsets.data(),
                                        edit.data(),
                                        out.mutable_data(),
                                        out_offsets.mutable_data(),
                                        bad.mutable_data(),
                                        static_cast<std::size_t>(out_offsets.shape(0)) - 1,
                                        rules,
                                        threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "edit"_a.noconvert(), "out"_a.noconvert(),
      "out_offsets"_a.noconvert(), "bad"_a.noconvert(), "rules"_a, "threads"_a, "impl"_a);
}
