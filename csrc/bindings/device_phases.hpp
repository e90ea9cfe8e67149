// One function a kernel, each in a file of its own, NAME_phases.cpp.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace clinaug::bindings {}
