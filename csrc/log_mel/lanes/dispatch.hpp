// The lanes kernel of an instruction set.
#pragma once

#include "common/instruction_set.hpp"
#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

// `set` is one of supported_sets().
const Kernel& kernel_of(InstructionSet set);

}  // namespace clinaug::lanes
