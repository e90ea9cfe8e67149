// The first-level data cache of a core. Of consequence for how much is worked on at a time, never for a result.
#pragma once

#include <cstddef>
#ifdef __linux__
#include <unistd.h>
#endif

namespace clinaug {

// Its bytes, as the system tells them; where it does not, what most processors have at least.
inline std::ptrdiff_t first_level_cache() {
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  static const std::ptrdiff_t told = sysconf(_SC_LEVEL1_DCACHE_SIZE);
  if (told > 0) return told;
#endif
  return 32 << 10;
}

}  // namespace clinaug
