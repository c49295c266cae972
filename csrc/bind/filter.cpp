#include <pybind11/pybind11.h>

void bind_filter_pii(pybind11::module_&);

void bind_filter(pybind11::module_& m) { bind_filter_pii(m); }
