#include <pybind11/pybind11.h>

void bind_filter(pybind11::module_&) {}
