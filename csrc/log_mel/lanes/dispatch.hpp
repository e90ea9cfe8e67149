// The lanes kernels of an instruction set.
#pragma once

#include "common/instruction_set.hpp"
#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

// `set` is one of supported_sets(); Real is float or double.
template <class Real>
const Kernel<Real>& kernel_of(InstructionSet set);

// One of half as many lanes whose results are the same to the bit; null where there is none.
template <class Real>
const Kernel<Real>* half_kernel_of(InstructionSet set);

}  // namespace clinaug::lanes
