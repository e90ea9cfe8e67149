// What a launch needs besides its kernel; for .cu files. Launches go to the caller's stream; nothing here allocates or
// waits, so a launch can be captured in a CUDA graph.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/target.hpp"

namespace clinaug::cuda {

inline const char* next_step(cudaError_t status) {
  switch (status) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
      return "Its kernels were built for another GPU: install clinaug-fast again where this one is, or with "
             "--config-settings=cmake.define.CMAKE_CUDA_ARCHITECTURES=NN for one of compute capability N.N";
    case cudaErrorInsufficientDriver: return "Update the NVIDIA driver, or install clinaug-fast with an older CUDA compiler";
    case cudaErrorInvalidDevice: return "Give a device that torch.cuda.device_count() counts";
    default: return "Run with CUDA_LAUNCH_BLOCKING=1 to see which call it belongs to";
  }
}

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it is told here: the next call must not find it again
  throw std::runtime_error(std::string(what) + ": CUDA says '" + cudaGetErrorString(status) + "' (" + cudaGetErrorName(status) + "). " +
                           next_step(status));
}

// The shared memory of a kernel, one static each: which devices have been told how much it takes.
class SharedLimit {
 public:
  // `bytes` of dynamic shared memory a block, which may be more than the 48 KB that need no asking; `blocks` of them are
  // meant to live on a multiprocessor, and the rest of its memory is left to the L1 cache.
  template <class Kernel>
  void raise(Kernel* kernel, std::size_t bytes, int device, const char* name, int blocks) {
    const std::uint64_t bit = device < 64 ? std::uint64_t{1} << device : 0;
    if (told_.load(std::memory_order_relaxed) & bit) return;
    int most = 0, multiprocessor = 0;
    check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), name);
    check(cudaDeviceGetAttribute(&multiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device), name);
    if (bytes > static_cast<std::size_t>(most)) {
      throw std::invalid_argument(std::string(name) + " needs " + std::to_string(bytes) +
                                  " bytes of shared memory a block; device " + std::to_string(device) + " has " + std::to_string(most) + ". Use a smaller size");
    }
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), name);
    constexpr std::size_t kReserved = 1024;  // a block, by the system
    const std::size_t percent = (blocks * (bytes + kReserved) * 100 + multiprocessor - 1) / multiprocessor;
    const int wish = percent < 100 ? static_cast<int>(percent) : 100;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, wish), name);
    told_.fetch_or(bit, std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> told_{0};
};

// The device of `target` must be current: Python sees to it, by torch's own guard, since to go back to a device that nobody
// uses would open it. Kernels have dynamic shared memory only, because the limit that SharedLimit raises counts both kinds.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, const Target& target,
            Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = reinterpret_cast<cudaStream_t>(target.stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

}  // namespace clinaug::cuda
