// Which instruction sets the lanes kernel was built for, and which of them this processor has.
#pragma once

#include <string>
#include <vector>

#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

struct InstructionSet {
  const char* name;
  const Kernel<float>* single;
  const Kernel<double>* full;
};

// Those that run here, the fastest first; "baseline" is always the last.
std::vector<InstructionSet> supported_sets();

// The set of that name, the fastest for an empty name. Throws std::invalid_argument naming those that run here.
InstructionSet find_set(const std::string& name);

}  // namespace clinaug::lanes
