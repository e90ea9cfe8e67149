#include "log_mel/lanes/dispatch.hpp"

#include <stdexcept>

namespace clinaug::lanes {

namespace avx512 { extern const Kernel<float> kernel; }
namespace avx512_double { extern const Kernel<double> kernel; }
namespace avx2 { extern const Kernel<float> kernel; }
namespace avx2_double { extern const Kernel<double> kernel; }
namespace baseline { extern const Kernel<float> kernel; }
namespace baseline_double { extern const Kernel<double> kernel; }

std::vector<InstructionSet> supported_sets() {
  std::vector<InstructionSet> sets;
#ifdef CLINAUG_HAS_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    sets.push_back({"avx512", &avx512::kernel, &avx512_double::kernel});
  }
#endif
#ifdef CLINAUG_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
    sets.push_back({"avx2", &avx2::kernel, &avx2_double::kernel});
  }
#endif
  sets.push_back({"baseline", &baseline::kernel, &baseline_double::kernel});
  return sets;
}

InstructionSet find_set(const std::string& name) {
  const std::vector<InstructionSet> sets = supported_sets();
  if (name.empty()) return sets.front();
  std::string names;
  for (const InstructionSet& set : sets) {
    if (set.name == name) return set;
    names += (names.empty() ? "" : ", ") + std::string(set.name);
  }
  throw std::invalid_argument("CLINAUG_ISA is '" + name + "'; expected one of those that this processor and build have: " + names +
                              ". Leave it unset for the fastest");
}

}  // namespace clinaug::lanes
