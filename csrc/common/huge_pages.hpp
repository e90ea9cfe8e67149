// Large arrays that have just been allocated. glibc maps whatever has 32 MiB or more afresh at each allocation, so that each page of
// 4 KiB is a fault on the first write to it: more time than a kernel that walks memory once takes for the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace clinaug {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;
inline constexpr std::size_t kAsksFrom = std::size_t{4} << 20;  // as numpy does for its own arrays

// Asks the system to back what lies within the array in pages of 2 MiB. A hint: where it is not taken, nothing changes.
inline void ask_for_huge_pages([[maybe_unused]] void* array, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes < kAsksFrom) return;
  const auto at = reinterpret_cast<std::uintptr_t>(array);
  const std::uintptr_t begin = (at + kHugePage - 1) / kHugePage * kHugePage, end = (at + bytes) / kHugePage * kHugePage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace clinaug
