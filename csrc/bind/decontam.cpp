#include <pybind11/pybind11.h>

void bind_decontam(pybind11::module_&) {}
