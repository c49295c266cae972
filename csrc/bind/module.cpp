#include <pybind11/pybind11.h>

void bind_core(pybind11::module_&);
void bind_text(pybind11::module_&);
void bind_filter(pybind11::module_&);
void bind_dedup(pybind11::module_&);
void bind_dedup_passages(pybind11::module_&);
void bind_decontam(pybind11::module_&);
void bind_tokenizer(pybind11::module_&);
void bind_tokenizer_normalize(pybind11::module_&);
void bind_tokenizer_sentencepiece(pybind11::module_&);
void bind_nn(pybind11::module_&);
void bind_nn_fused(pybind11::module_&);
void bind_nn_dropout(pybind11::module_&);
void bind_nn_embedding(pybind11::module_&);
void bind_nn_rope(pybind11::module_&);
void bind_nn_cuda(pybind11::module_&);
void bind_optim(pybind11::module_&);
void bind_optim_cuda(pybind11::module_&);
void bind_dedup_cuda(pybind11::module_&);

PYBIND11_MODULE(_native, m) {
  m.doc() = "Compiled ops of fasttrain. Private: call them through their Python faces.";
  bind_core(m);
  bind_text(m);
  bind_filter(m);
  bind_dedup(m);
  bind_dedup_passages(m);
  bind_decontam(m);
  bind_tokenizer(m);
  bind_tokenizer_normalize(m);
  bind_tokenizer_sentencepiece(m);
  bind_nn(m);
  bind_nn_fused(m);
  bind_nn_dropout(m);
  bind_nn_embedding(m);
  bind_nn_rope(m);
  bind_nn_cuda(m);
  bind_optim(m);
  bind_optim_cuda(m);
  bind_dedup_cuda(m);
}
