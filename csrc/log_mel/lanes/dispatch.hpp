// The lanes kernels of an instruction set.
#pragma once

#include "common/instruction_set.hpp"
#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

struct Kernels {
  const Kernel<float>* single;
  const Kernel<double>* full;
};

// `set` is one of supported_sets().
Kernels kernels_of(InstructionSet set);

}  // namespace clinaug::lanes
