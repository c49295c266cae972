#include <pybind11/pybind11.h>

void bind_dedup(pybind11::module_&) {}
