// Which instruction sets the vector kernels were built for, and which of them this processor has.
//
// A kernel source is compiled once a set, in a namespace of the set's name. It calls no inline function from outside that
// namespace: the linker keeps one copy of such a function for all sets, and it may be the one with AVX-512.
#pragma once

#include <string>
#include <vector>

namespace clinaug {

enum class InstructionSet { baseline, avx2, avx512 };

const char* name_of(InstructionSet set);

// Those that run here, the fastest first; baseline is always the last.
std::vector<InstructionSet> supported_sets();

// The set of that name, the fastest for an empty name. Throws std::invalid_argument naming those that run here.
InstructionSet find_set(const std::string& name);

}  // namespace clinaug
