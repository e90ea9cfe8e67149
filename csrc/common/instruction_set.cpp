#include "common/instruction_set.hpp"

#include <stdexcept>

#if defined(CLINAUG_HAS_AVX2) || defined(CLINAUG_HAS_AVX512)
#include <cpuid.h>
#endif

namespace clinaug {
namespace {

#if defined(CLINAUG_HAS_AVX2) || defined(CLINAUG_HAS_AVX512)
// All that -march=x86-64-v3 lets a compiler use; what not every __builtin_cpu_supports knows by name is asked of the
// processor.
bool has_v3() {
  unsigned a, b, basic, extended, d;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __get_cpuid(1, &a, &b, &basic, &d) && (basic & bit_F16C) && (basic & bit_MOVBE) &&
         __get_cpuid(0x80000001, &a, &b, &extended, &d) && (extended & bit_LZCNT);
}
#endif

}  // namespace

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
  if (has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    sets.push_back(InstructionSet::avx512);
  }
#endif
#ifdef CLINAUG_HAS_AVX2
  if (has_v3()) sets.push_back(InstructionSet::avx2);
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
