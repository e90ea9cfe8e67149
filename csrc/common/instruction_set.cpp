#include "common/instruction_set.hpp"

#include <stdexcept>

namespace clinaug {

const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512: return "avx512";
    case InstructionSet::avx2: return "avx2";
    default: return "baseline";
  }
}

std::vector<InstructionSet> supported_sets() {
  std::vector<InstructionSet> sets;
#ifdef CLINAUG_HAS_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    sets.push_back(InstructionSet::avx512);
  }
#endif
#ifdef CLINAUG_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
    sets.push_back(InstructionSet::avx2);
  }
#endif
  sets.push_back(InstructionSet::baseline);
  return sets;
}

InstructionSet find_set(const std::string& name) {
  const std::vector<InstructionSet> sets = supported_sets();
  if (name.empty()) return sets.front();
  std::string names;
  for (const InstructionSet set : sets) {
    if (name_of(set) == name) return set;
    names += (names.empty() ? "" : ", ") + std::string(name_of(set));
  }
  throw std::invalid_argument("CLINAUG_ISA is '" + name + "'; expected one of those that this processor and build have: " + names +
                              ". Leave it unset for the fastest");
}

}  // namespace clinaug
