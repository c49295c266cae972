#include <pybind11/pybind11.h>

void bind_optim(pybind11::module_&) {}
