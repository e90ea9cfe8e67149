// One function for each part of the module, each in a file of its own.
#pragma once

#include <pybind11/pybind11.h>

namespace clinaug::bindings {

void bind_audio(pybind11::module_& module);
void bind_files(pybind11::module_& module);
void bind_log_mel(pybind11::module_& module);
void bind_log_mel_device(pybind11::module_& module);
void bind_lost_pages(pybind11::module_& module);
void bind_residual_se(pybind11::module_& module);
void bind_residual_se_device(pybind11::module_& module);  // where CUDA was compiled

}  // namespace clinaug::bindings
