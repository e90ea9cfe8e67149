// The forward kernels and their launches; the phases are in device/forward.hpp.
#include <algorithm>
#include <map>
#include <mutex>

#include "residual_se/device/launch.cuh"

namespace clinaug::se {
namespace {

template <class Element>
__global__ void __launch_bounds__(kMostThreads, kBlocksAMultiprocessor)
    forward_on_chip(const Geometry g, const Offsets at, const Forward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  const auto slices = static_cast<unsigned>(g.slices);
  const Forward<Element> to = all.from(g, first + blockIdx.x / slices);
  const unsigned rank = blockIdx.x % slices;
  forward_squeeze(block, g, at, to, rank);
  block.sync_cluster();
  forward_excite(block, g, at, to, rank);
}

template <class Element>
__global__ void __launch_bounds__(kMostThreads, kBlocksAMultiprocessor)
    forward_sums_kernel(const Geometry g, const Forward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  const auto slices = static_cast<unsigned>(g.slices);
  forward_sums(block, g, all.streamed(g, first, blockIdx.x / slices), blockIdx.x % slices);
}

template <class Element>
__global__ void __launch_bounds__(kMostThreads)
    forward_gates_kernel(const Geometry g, const Forward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  forward_gates(block, g, all.streamed(g, first, blockIdx.x));
}

template <class Element>
__global__ void __launch_bounds__(kMostThreads, kBlocksAMultiprocessor)
    forward_apply_kernel(const Geometry g, const Forward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  const auto slices = static_cast<unsigned>(g.slices);
  forward_apply(block, g, all.streamed(g, first, blockIdx.x / slices), blockIdx.x % slices);
}

DeviceLimits ask(int device) {
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    cuda::check(cudaDeviceGetAttribute(&value, which, device), "residual_se: what the device has");
    return static_cast<std::int64_t>(value);
  };
  DeviceLimits limits;
  limits.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  limits.shared_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  limits.shared_per_multiprocessor = attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  limits.shared_reserved = attribute(cudaDevAttrReservedSharedMemoryPerBlock);
  limits.l2 = attribute(cudaDevAttrL2CacheSize);
  // The device may have clusters while this code was compiled for one that has not.
  cudaFuncAttributes compiled{};
  cuda::check(cudaFuncGetAttributes(&compiled, forward_on_chip<float>), "residual_se: its kernel");
  if (attribute(cudaDevAttrClusterLaunch) != 0 && compiled.ptxVersion >= 90) limits.largest_cluster = 8;  // what is portable
  return limits;
}

}  // namespace

const DeviceLimits& limits_of(int device) {
  static std::mutex mutex;
  static std::map<int, DeviceLimits> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(device);
  return found != known.end() ? found->second : known.emplace(device, ask(device)).first->second;
}

std::int64_t scratch_size(const CudaCall& call, bool backward) {
  return make_plan(problem_of(call, backward), limits_of(call.target.device)).scratch;
}

void forward(const CudaCall& call, const ForwardAddresses& at) {
  with_type(call, [&]<class Element>() {
    Problem problem = problem_of(call, false);
    problem.vectors = lie_alike<Element>({at.x, at.skip, at.y});
    const Plan plan = make_plan(problem, limits_of(call.target.device));
    const auto to = forward_of<Element>(call, at);
    const Geometry& g = plan.geometry;
    for (std::int64_t first = 0; first < call.batch; first += plan.samples) {
      const std::int64_t samples = std::min(plan.samples, call.batch - first);
      if (plan.on_chip) {
        launch_on_chip<forward_on_chip<Element>>("residual_se on chip", plan, samples, call.target, g, plan.offsets, to,
                                                         first);
      } else {
        const dim3 slices(static_cast<unsigned>(samples * g.slices)), threads(static_cast<unsigned>(plan.threads));
        cuda::launch("residual_se, the sums", forward_sums_kernel<Element>, slices, threads, plan.shared, call.target, g,
                     to, first);
        cuda::launch("residual_se, the gates", forward_gates_kernel<Element>, static_cast<unsigned>(samples), threads, 0,
                     call.target, g, to, first);
        cuda::launch("residual_se, y", forward_apply_kernel<Element>, slices, threads, 0, call.target, g, to, first);
      }
    }
  });
}

}  // namespace clinaug::se
