// One function a kernel, each in a file of its own, NAME_phases.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace clinaug::bindings {

void bind_log_mel_phases(pybind11::module_& module);
void bind_residual_se_phases(pybind11::module_& module);

}  // namespace clinaug::bindings
