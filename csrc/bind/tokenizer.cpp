#include <pybind11/pybind11.h>

void bind_tokenizer(pybind11::module_&) {}
