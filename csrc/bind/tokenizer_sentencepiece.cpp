#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "tokenizer/sentencepiece_bpe.h"
#include "tokenizer/unigram.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using namespace fasttrain::tokenizer;
using bind::Array;

namespace {

template <typename Impls>
void bind_op(py::module_& m, const char* op, const Impls impls) {
  m.def((std::string(op) + "_impls").c_str(), [impls] { return runnable(impls()); });
  m.def(
      op,
      [impls, op](SentencePieceModel& model, const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets,
                  Array<std::uint32_t>& ids, Array<std::int64_t>& ends, int threads, const std::string& impl) {
        const auto fn = pick(impls(), op, impl);
        const SentencePieceArgs args{&model,
                                     data.data(),
                                     offsets.data(),
                                     ids.mutable_data(),
                                     ends.mutable_data(),
                                     static_cast<std::size_t>(ends.shape(0) - 1),
                                     threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "model"_a, "data"_a.noconvert(), "offsets"_a.noconvert(), "ids"_a.noconvert(), "ends"_a.noconvert(), "threads"_a,
      "impl"_a);
}

}  // namespace

void bind_tokenizer_sentencepiece(py::module_& m) {
  py::class_<SentencePieceModel>(m, "SentencePieceModel")
      .def(py::init([](const Array<std::uint8_t>& piece_data, const Array<std::int64_t>& piece_offsets,
                       const Array<float>& scores, const Array<std::uint8_t>& kinds,
                       const Array<std::uint32_t>& byte_ids, const Array<std::uint32_t>& pairs,
                       const Array<std::uint32_t>& results, bool has_list, const Array<double>& wide_scores,
                       double wide_min, bool splits_words, std::uint32_t unk_id) {
             const SentencePieceModelArgs args{piece_data.data(),
                                               piece_offsets.data(),
                                               scores.data(),
                                               kinds.data(),
                                               byte_ids.shape(0) == 256 ? byte_ids.data() : nullptr,
                                               pairs.data(),
                                               has_list ? results.data() : nullptr,
                                               wide_scores.shape(0) > 0 ? wide_scores.data() : nullptr,
                                               wide_min,
                                               splits_words,
                                               static_cast<std::size_t>(kinds.shape(0)),
                                               static_cast<std::size_t>(results.shape(0)),
                                               unk_id};
             py::gil_scoped_release nogil;
             return std::make_unique<SentencePieceModel>(args);
           }),
           "piece_data"_a.noconvert(), "piece_offsets"_a.noconvert(), "scores"_a.noconvert(), "kinds"_a.noconvert(),
           "byte_ids"_a.noconvert(), "pairs"_a.noconvert(), "results"_a.noconvert(), "has_list"_a,
           "wide_scores"_a.noconvert(), "wide_min"_a, "splits_words"_a, "unk_id"_a);
  bind_op(m, "sentencepiece_bpe", sentencepiece_bpe_impls);
  bind_op(m, "unigram", unigram_impls);
}
