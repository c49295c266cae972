#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "bind/arrays.h"
#include "tokenizer/bpe_dropout.h"
#include "tokenizer/bpe_encode.h"
#include "tokenizer/bpe_train.h"
#include "tokenizer/pretokenize.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;
using namespace fasttrain::tokenizer;
using bind::Array;

namespace {

void bind_pretokenize(py::module_& m) {
  m.def("pretokenize_impls", [] { return runnable(pretokenize_impls()); });
  m.def(
      "pretokenize",
      [](const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets, Array<std::int64_t>& ends,
         Array<std::int64_t>& counts, int pattern, int threads, const std::string& impl) {
        const auto fn = pick(pretokenize_impls(), "pretokenize", impl);
        const PretokenizeArgs args{data.data(),
                                   offsets.data(),
                                   ends.mutable_data(),
                                   counts.mutable_data(),
                                   static_cast<std::size_t>(counts.shape(0)),
                                   pattern,
                                   threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "ends"_a.noconvert(), "counts"_a.noconvert(), "pattern"_a,
      "threads"_a, "impl"_a);
}

void bind_encode(py::module_& m) {
  py::class_<BpeModel>(m, "BpeModel")
      .def(py::init([](const Array<std::uint8_t>& token_data, const Array<std::int64_t>& token_offsets,
                       const Array<std::uint32_t>& pairs, const Array<std::uint32_t>& ranks,
                       const Array<std::uint32_t>& id_of_rank, const Array<std::uint32_t>& byte_ids,
                       const Array<std::uint8_t>& added_data, const Array<std::int64_t>& added_offsets,
                       const Array<std::uint32_t>& added_ids, int pattern, bool ignore_merges,
                       std::size_t cache_bytes) {
             const BpeModelArgs args{token_data.data(),
                                     token_offsets.data(),
                                     pairs.data(),
                                     ranks.data(),
                                     id_of_rank.data(),
                                     byte_ids.data(),
                                     added_data.data(),
                                     added_offsets.data(),
                                     added_ids.data(),
                                     static_cast<std::size_t>(token_offsets.shape(0) - 1),
                                     static_cast<std::size_t>(ranks.shape(0)),
                                     static_cast<std::size_t>(id_of_rank.shape(0)),
                                     static_cast<std::size_t>(added_ids.shape(0)),
                                     pattern,
                                     ignore_merges,
                                     cache_bytes};
             py::gil_scoped_release nogil;
             return std::make_unique<BpeModel>(args);
           }),
           "token_data"_a.noconvert(), "token_offsets"_a.noconvert(), "pairs"_a.noconvert(), "ranks"_a.noconvert(),
           "id_of_rank"_a.noconvert(), "byte_ids"_a.noconvert(), "added_data"_a.noconvert(),
           "added_offsets"_a.noconvert(), "added_ids"_a.noconvert(), "pattern"_a, "ignore_merges"_a, "cache_bytes"_a);
  m.def("bpe_encode_impls", [] { return runnable(bpe_encode_impls()); });
  m.def(
      "bpe_encode",
      [](BpeModel& model, const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets,
         Array<std::uint32_t>& ids, Array<std::int64_t>& ends, std::int64_t eot, bool finds_added, int threads,
         const std::string& impl) {
        const auto fn = pick(bpe_encode_impls(), "bpe_encode", impl);
        const BpeEncodeArgs args{&model,
                                 data.data(),
                                 offsets.data(),
                                 ids.mutable_data(),
                                 ends.mutable_data(),
                                 static_cast<std::size_t>(ends.shape(0) - 1),
                                 static_cast<std::size_t>(data.shape(0)),
                                 eot,
                                 finds_added,
                                 threads};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "model"_a, "data"_a.noconvert(), "offsets"_a.noconvert(), "ids"_a.noconvert(), "ends"_a.noconvert(), "eot"_a,
      "finds_added"_a, "threads"_a, "impl"_a);
}

void bind_dropout(py::module_& m) {
  m.def("bpe_dropout_impls", [] { return runnable(bpe_dropout_impls()); });
  m.def(
      "bpe_dropout",
      [](BpeModel& model, const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets,
         Array<std::uint32_t>& ids, Array<std::int64_t>& ends, std::int64_t eot, bool finds_added, std::uint64_t seed,
         std::uint64_t threshold, std::uint64_t first_text, const Array<std::uint64_t>& numbers,
         const Array<std::uint64_t>& begins, int threads, const std::string& impl) {
        const auto fn = pick(bpe_dropout_impls(), "bpe_dropout", impl);
        const BpeDropoutArgs args{{&model, data.data(), offsets.data(), ids.mutable_data(), ends.mutable_data(),
                                   static_cast<std::size_t>(ends.shape(0) - 1), static_cast<std::size_t>(data.shape(0)),
                                   eot, finds_added, threads},
                                  seed,
                                  threshold,
                                  first_text,
                                  numbers.shape(0) ? numbers.data() : nullptr,
                                  begins.shape(0) ? begins.data() : nullptr};
        py::gil_scoped_release nogil;
        fn(args);
      },
      "model"_a, "data"_a.noconvert(), "offsets"_a.noconvert(), "ids"_a.noconvert(), "ends"_a.noconvert(), "eot"_a,
      "finds_added"_a, "seed"_a, "threshold"_a, "first_text"_a, "numbers"_a.noconvert(), "begins"_a.noconvert(),
      "threads"_a, "impl"_a);
}

void bind_train(py::module_& m) {
  m.def("bpe_train_impls", [] { return runnable(bpe_train_impls()); });
  py::class_<WordCounter>(m, "WordCounter")
      .def(py::init<int>(), "pattern"_a)
      .def(
          "add",
          [](WordCounter& counter, const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets, int threads,
             const std::string& impl) {
            const auto count = pick(bpe_train_impls(), "bpe_train", impl).count;
            const WordCountArgs args{&counter, data.data(), offsets.data(),
                                     static_cast<std::size_t>(offsets.shape(0) - 1), threads};
            py::gil_scoped_release nogil;
            count(args);
          },
          "data"_a.noconvert(), "offsets"_a.noconvert(), "threads"_a, "impl"_a)
      .def(
          "add_counted",
          [](WordCounter& counter, const Array<std::uint8_t>& data, const Array<std::int64_t>& offsets,
             const Array<std::int64_t>& counts) {
            py::gil_scoped_release nogil;
            auto map = counter.take();
            for (py::ssize_t w = 0; w < counts.shape(0); ++w)
              map->add(data.data() + offsets.data()[w],
                       static_cast<std::size_t>(offsets.data()[w + 1] - offsets.data()[w]), counts.data()[w]);
            counter.give_back(std::move(map));
          },
          "data"_a.noconvert(), "offsets"_a.noconvert(), "counts"_a.noconvert())
      .def(
          "merge",
          [](WordCounter& counter, WordCounter& other, std::int64_t times) {
            py::gil_scoped_release nogil;
            counter.whole().merge(other.whole(), times);
          },
          "other"_a, "times"_a)
      .def("exceeds", &WordCounter::exceeds, "num_words"_a)
      .def("sizes",
           [](WordCounter& counter) {
             const WordMap& map = counter.whole();
             return py::make_tuple(map.size(), map.num_bytes());
           })
      .def(
          "words",
          [](WordCounter& counter, Array<std::uint8_t>& data, Array<std::int64_t>& offsets,
             Array<std::int64_t>& counts) {
            py::gil_scoped_release nogil;
            counter.whole().write_sorted(data.mutable_data(), offsets.mutable_data(), counts.mutable_data());
          },
          "data"_a.noconvert(), "offsets"_a.noconvert(), "counts"_a.noconvert());
  m.def(
      "bpe_train",
      [](Array<std::uint32_t>& symbols, const Array<std::int64_t>& word_offsets, const Array<std::int64_t>& word_counts,
         const Array<std::uint8_t>& token_data, const Array<std::int64_t>& token_offsets,
         const Array<std::uint32_t>& given, const Array<std::uint32_t>& token_sizes, Array<std::uint32_t>& pairs,
         Array<std::uint32_t>& ids, std::size_t vocab_size, std::int64_t min_frequency, bool reuses_ids,
         std::uint32_t max_size, const std::string& impl) {
        const auto train = pick(bpe_train_impls(), "bpe_train", impl).train;
        const BpeTrainArgs args{symbols.mutable_data(),
                                word_offsets.data(),
                                word_counts.data(),
                                token_data.data(),
                                token_offsets.data(),
                                pairs.mutable_data(),
                                ids.mutable_data(),
                                given.data(),
                                token_sizes.shape(0) ? token_sizes.data() : nullptr,
                                static_cast<std::size_t>(word_counts.shape(0)),
                                static_cast<std::size_t>(token_offsets.shape(0) - 1),
                                static_cast<std::size_t>(given.shape(0)),
                                vocab_size,
                                static_cast<std::size_t>(ids.shape(0)),
                                min_frequency,
                                reuses_ids,
                                max_size};
        py::gil_scoped_release nogil;
        return train(args);
      },
      "symbols"_a.noconvert(), "word_offsets"_a.noconvert(), "word_counts"_a.noconvert(), "token_data"_a.noconvert(),
      "token_offsets"_a.noconvert(), "given"_a.noconvert(), "token_sizes"_a.noconvert(), "pairs"_a.noconvert(),
      "ids"_a.noconvert(), "vocab_size"_a, "min_frequency"_a, "reuses_ids"_a, "max_size"_a, "impl"_a);
}

}  // namespace

void bind_tokenizer(py::module_& m) {
  bind_pretokenize(m);
  bind_encode(m);
  bind_dropout(m);
  bind_train(m);
}
