// Where a kernel is launched: what Python hands over as two integers. Known to the bindings, which see no CUDA header.
#pragma once

#include <cstdint>

namespace clinaug {

struct Target {
  int device = 0;
  std::uintptr_t stream = 0;  // a cudaStream_t; 0 is the default stream
};

}  // namespace clinaug
