// From a call to its launches: the types, the device's limits, clusters. For the .cu files of residual_se.
#pragma once

#include <atomic>
#include <cstdint>

#include "common/cuda.hpp"
#include "residual_se/device/arguments.hpp"
#include "residual_se/device/device_block.cuh"

namespace clinaug::se {

// Of the device, which must be current; asked for once.
const DeviceLimits& limits_of(int device);

// A kernel may use all of the shared memory that the device gives a block; asked for once a kernel and device.
template <auto kKernel>
void allow_all_shared(int device, const char* name) {
  static std::atomic<std::uint64_t> told{0};
  const std::uint64_t bit = device < 64 ? std::uint64_t{1} << device : 0;
  if (told.load(std::memory_order_relaxed) & bit) return;
  const auto most = static_cast<int>(limits_of(device).shared_per_block);
  cuda::check(cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), name);
  cuda::check(cudaFuncSetAttribute(kKernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared), name);
  told.fetch_or(bit, std::memory_order_relaxed);
}

// A cluster a sample.
template <auto kKernel, class... Arguments>
void launch_on_chip(const char* name, const Plan& plan, std::int64_t samples, const Target& target,
                    const Arguments&... arguments) {
  allow_all_shared<kKernel>(target.device, name);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(samples * plan.geometry.slices));
  config.blockDim = dim3(static_cast<unsigned>(plan.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(plan.shared);
  config.stream = reinterpret_cast<cudaStream_t>(target.stream);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(plan.geometry.slices);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  config.attrs = &cluster;
  config.numAttrs = limits_of(target.device).largest_cluster > 1 ? 1 : 0;
  cuda::check(cudaLaunchKernelEx(&config, kKernel, arguments...), name);
}

}  // namespace clinaug::se
