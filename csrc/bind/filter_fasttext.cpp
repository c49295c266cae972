#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/arrays.h"
#include "filter/fasttext.h"
#include "filter/fasttext_train.h"

namespace py = pybind11;
using namespace py::literals;
using namespace fasttrain;

namespace {

using Bytes = bind::Array<std::uint8_t>;
using Places = bind::Array<std::int64_t>;

}  // namespace

void bind_filter_fasttext(py::module_& m) {
  py::class_<filter::FasttextModel>(m, "FasttextModel")
      .def(py::init([](const Bytes& data) {
             const std::uint8_t* bytes = data.data();
             const auto size = static_cast<std::size_t>(data.size());
             py::gil_scoped_release nogil;
             try {
               return std::make_unique<filter::FasttextModel>(bytes, size);
             } catch (const filter::FasttextError& error) {
               throw std::invalid_argument(error.what());
             }
           }),
           "data"_a.noconvert())
      .def_property_readonly("dim", [](const filter::FasttextModel& model) { return model.D; })
      .def_property_readonly("num_words", [](const filter::FasttextModel& model) { return model.num_words; })
      .def_property_readonly("labels", [](const filter::FasttextModel& model) {
        std::vector<py::bytes> names;
        for (std::size_t i = 0; i < model.L; ++i) names.emplace_back(std::string(model.label(i)));
        return names;
      });
  m.def("fasttext_impls", [] { return runnable(filter::fasttext_impls()); });
  m.def(
      "fasttext_predict",
      [](const filter::FasttextModel& model, const Bytes& data, const Places& offsets,
         bind::Array<std::int32_t>& labels, bind::Array<float>& probs, std::size_t max_chars, int threads,
         const std::string& impl) {
        const auto fns = pick(filter::fasttext_impls(), "fasttext", impl);
        const filter::FasttextPredictArgs args{&model,
                                               data.data(),
                                               offsets.data(),
                                               labels.mutable_data(),
                                               probs.mutable_data(),
                                               static_cast<std::size_t>(labels.shape(0)),
                                               static_cast<std::size_t>(labels.shape(1)),
                                               max_chars,
                                               threads};
        py::gil_scoped_release nogil;
        fns.predict(args);
      },
      "model"_a, "data"_a.noconvert(), "offsets"_a.noconvert(), "labels"_a.noconvert(), "probs"_a.noconvert(),
      "max_chars"_a, "threads"_a, "impl"_a);
  m.def(
      "fasttext_rows",
      [](const filter::FasttextModel& model, const Bytes& data, const Places& offsets, bind::Array<std::int32_t>& rows,
         const Places& places, Places& counts, int threads, const std::string& impl) {
        const auto fns = pick(filter::fasttext_impls(), "fasttext", impl);
        const filter::FasttextRowsArgs args{&model,
                                            data.data(),
                                            offsets.data(),
                                            rows.size() == 0 ? nullptr : rows.mutable_data(),
                                            places.data(),
                                            counts.mutable_data(),
                                            static_cast<std::size_t>(counts.shape(0)),
                                            threads};
        py::gil_scoped_release nogil;
        fns.rows(args);
      },
      "model"_a, "data"_a.noconvert(), "offsets"_a.noconvert(), "rows"_a.noconvert(), "places"_a.noconvert(),
      "counts"_a.noconvert(), "threads"_a, "impl"_a);
  m.def("fasttext_train_impls", [] { return runnable(filter::fasttext_train_impls()); });
  m.def(
      "fasttext_train_steps",
      [](bind::Array<float>& input, bind::Array<float>& output, const bind::Array<std::int32_t>& rows,
         const Places& offsets, const bind::Array<std::int32_t>& labels, const Places& order,
         const bind::Array<float>& rates, bind::Array<float>& scratch, const std::string& impl) {
        const auto fns = pick(filter::fasttext_train_impls(), "fasttext_train", impl);
        double loss = 0;
        const filter::FasttextTrainArgs args{input.mutable_data(),
                                             output.mutable_data(),
                                             rows.data(),
                                             offsets.data(),
                                             labels.data(),
                                             order.data(),
                                             rates.data(),
                                             scratch.mutable_data(),
                                             &loss,
                                             static_cast<std::size_t>(output.shape(1)),
                                             static_cast<std::size_t>(output.shape(0)),
                                             static_cast<std::size_t>(order.shape(0))};
        {
          py::gil_scoped_release nogil;
          fns.steps(args);
        }
        return loss;
      },
      "input"_a.noconvert(), "output"_a.noconvert(), "rows"_a.noconvert(), "offsets"_a.noconvert(),
      "labels"_a.noconvert(), "order"_a.noconvert(), "rates"_a.noconvert(), "scratch"_a.noconvert(), "impl"_a);
  m.def(
      "fasttext_windows",
      [](const Bytes& data, const Places& offsets, Places& ends, Places& counts, std::size_t min_chars, int threads,
         const std::string& impl) {
        const auto fns = pick(filter::fasttext_impls(), "fasttext", impl);
        const filter::FasttextWindowsArgs args{data.data(),
                                               offsets.data(),
                                               ends.mutable_data(),
                                               counts.mutable_data(),
                                               static_cast<std::size_t>(ends.shape(0)),
                                               static_cast<std::size_t>(ends.shape(1)),
                                               min_chars,
                                               threads};
        py::gil_scoped_release nogil;
        fns.windows(args);
      },
      "data"_a.noconvert(), "offsets"_a.noconvert(), "ends"_a.noconvert(), "counts"_a.noconvert(), "min_chars"_a,
      "threads"_a, "impl"_a);
}
