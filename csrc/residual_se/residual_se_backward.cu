// The backward kernels and their launches; the phases are in device/backward.hpp and device/weight_grads.hpp.
#include <algorithm>

#include "residual_se/device/launch.cuh"

namespace clinaug::se {
namespace {

template <class Element>
__global__ void __launch_bounds__(kMostThreads, kBlocksAMultiprocessor)
    backward_on_chip(const Geometry g, const Offsets at, const Backward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  const auto slices = static_cast<unsigned>(g.slices);
  const Backward<Element> to = all.from(g, first + blockIdx.x / slices);
  const unsigned rank = blockIdx.x % slices;
  backward_squeeze(block, g, at, to, rank);
  block.sync_cluster();
  backward_spread(block, g, at, to, rank);
}

template <class Element>
__global__ void __launch_bounds__(kMostThreads, 2)  // a third block would cost spilled registers
    backward_sums_kernel(const Geometry g, const Backward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  const auto slices = static_cast<unsigned>(g.slices);
  backward_sums(block, g, all.streamed(g, first, blockIdx.x / slices), blockIdx.x % slices);
}

template <class Element>
__global__ void __launch_bounds__(kMostThreads)
    backward_gates_kernel(const Geometry g, const Backward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  backward_gates(block, g, all.streamed(g, first, blockIdx.x));
}

template <class Element>
__global__ void __launch_bounds__(kMostThreads, kBlocksAMultiprocessor)
    backward_apply_kernel(const Geometry g, const Backward<Element> all, const std::int64_t first) {
  DeviceBlock block;
  const auto slices = static_cast<unsigned>(g.slices);
  backward_apply(block, g, all.streamed(g, first, blockIdx.x / slices), blockIdx.x % slices);
}

template <class Real>
inline constexpr int kWeightThreads = sizeof(Real) == 8 ? 512 : 1024;  // registers for all, and within 48 KB of shared memory

template <class Element>
__global__ void __launch_bounds__(kWeightThreads<Accumulator<Element>>)
    weight_grads_kernel(const WeightGrads<Element> to, const unsigned channel_tiles) {
  DeviceBlock block;
  weight_grads(block, to, blockIdx.x % channel_tiles, blockIdx.x / channel_tiles);
}

template <class Element>
void launch_weight_grads(const CudaCall& call, const BackwardAddresses& at) {
  using Real = Accumulator<Element>;
  const WeightTiles tiles(call.channels, call.hidden);
  constexpr int kThreads = kWeightThreads<Real>;
  cuda::launch("residual_se, the weights' gradients", weight_grads_kernel<Element>,
               dim3(static_cast<unsigned>(tiles.channels * tiles.units)), dim3(kThreads), weight_grads_shared<Real>(kThreads),
               call.target, weight_grads_of<Element>(call, at), static_cast<unsigned>(tiles.channels));
}

}  // namespace

void backward(const CudaCall& call, const BackwardAddresses& at) {
  with_type(call, [&]<class Element>() {
    using Real = Accumulator<Element>;
    Problem problem = problem_of(call, true);
    problem.vectors = lie_alike<Element>({at.x, at.grad_y, at.y, at.grad_x, at.grad_skip});
    const Plan plan = make_plan(problem, limits_of(call.target.device));
    const Geometry& g = plan.geometry;
    const auto to = backward_of<Element>(call, at, plan);
    for (std::int64_t first = 0; first < call.batch; first += plan.samples) {
      const std::int64_t samples = std::min(plan.samples, call.batch - first);
      if (plan.on_chip) {
        launch_on_chip<backward_on_chip<Element>>("residual_se backward on chip", plan, samples, call.target, g,
                                                          plan.offsets, to, first);
      } else {
        const dim3 slices(static_cast<unsigned>(samples * g.slices)), threads(static_cast<unsigned>(plan.threads));
        const std::size_t parts = plan.shared;
        const auto one_each = static_cast<unsigned>(samples);
        const Target& target = call.target;
        cuda::launch("residual_se backward, the sums", backward_sums_kernel<Element>, slices, threads, parts, target, g,
                     to, first);
        cuda::launch("residual_se backward, the gates", backward_gates_kernel<Element>, one_each, threads, parts, target,
                     g, to, first);
        cuda::launch("residual_se backward, grad_x", backward_apply_kernel<Element>, slices, threads, 0, target, g, to,
                     first);
      }
    }
    launch_weight_grads<Element>(call, at);
  });
}

}  // namespace clinaug::se
