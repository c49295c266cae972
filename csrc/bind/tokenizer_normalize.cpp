#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "tokenizer/normalize.h"
#include "tokenizer/sentencepiece_normalize.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using namespace fasttrain::tokenizer;
using bind::Array;

void bind_tokenizer_normalize(py::module_& m) {
  py::class_<SentencePieceNormalizer>(m, "SentencePieceNormalizer")
      .def(py::init([](const Array<std::uint32_t>& units, const Array<std::uint8_t>& strings,
                       const Array<std::uint8_t>& symbol_data, const Array<std::int64_t>& symbol_offsets,
                       bool add_dummy_prefix, bool remove_extra_whitespaces, bool escape_whitespaces,
                       bool whitespace_as_suffix) {
             const SentencePieceNormalizerArgs args{units.data(),
                                                    strings.data(),
                                                    symbol_data.data(),
                                                    symbol_offsets.data(),
                                                    static_cast<std::size_t>(units.shape(0)),
                                                    static_cast<std::size_t>(strings.shape(0)),
                                                    static_cast<std::size_t>(symbol_offsets.shape(0) - 1),
                                                    add_dummy_prefix,
                                                    remove_extra_whitespaces,
                                                    escape_whitespaces,
                                                    whitespace_as_suffix};
             py::gil_scoped_release nogil;
             return std::make_unique<SentencePieceNormalizer>(args);
           }),
           "units"_a.noconvert(), "strings"_a.noconvert(), "symbol_data"_a.noconvert(), "symbol_offsets"_a.noconvert(),
           "add_dummy_prefix"_a, "remove_extra_whitespaces"_a, "escape_whitespaces"_a, "whitespace_as_suffix"_a)
      .def("room", [](const SentencePieceNormalizer& n, std::size_t bytes, std::size_t texts) {
        return bytes * n.growth() + texts * SentencePieceNormalizer::room_bytes;
      }, "bytes"_a, "texts"_a);
  m.def("sentencepiece_normalize_impls", [] { return runnable(sentencepiece_normalize_impls()); });
  m.def(
      "sentencepiece_normalize",
      [](const SentencePieceNormalizer& normalizer, const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets,
         Array<std::uint8_t>& out, Array<std::int64_t>& ends, int threads, const std::string& impl) {
        const auto fn = pick(sentencepiece_normalize_impls(), "sentencepiece_normalize", impl);
        const SentencePieceNormalizeArgs args{&normalizer,        data.data(),
                                              offsets.data(),     out.mutable_data(),
                                              ends.mutable_data(), static_cast<std::size_t>(ends.shape(0) - 1),
                                              threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "normalizer"_a, "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "ends"_a.noconvert(),
      "threads"_a, "impl"_a);
  m.def("normalize_growth", [](int step) { return normalize_growth(static_cast<Normalization>(step)); }, "step"_a);
  m.def("normalize_impls", [] { return runnable(normalize_impls()); });
  m.def(
      "normalize",
      [](const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets, Array<std::uint8_t>& out,
         std::optional<Array<std::int64_t>>& source, Array<std::int64_t>& ends, int step, int threads,
         const std::string& impl) {
        const auto fn = pick(normalize_impls(), "normalize", impl);
        const NormalizeArgs args{data.data(),
                                 offsets.data(),
                                 out.mutable_data(),
                                 source ? source->mutable_data() : nullptr,
                                 ends.mutable_data(),
                                 static_cast<std::size_t>(ends.shape(0) - 1),
                                 static_cast<Normalization>(step),
                                 threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "out"_a.noconvert(), "source"_a.noconvert(), "ends"_a.noconvert(),
      "step"_a, "threads"_a, "impl"_a);
}
