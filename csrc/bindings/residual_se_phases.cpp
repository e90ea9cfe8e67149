// The phases of residual_se's CUDA kernels on the CPU, thread by thread, block by block, a cluster's blocks in turn between its
// barriers. Launches are those of residual_se.cu and residual_se_backward.cu, for a device with the limits that the test names.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include <pybind11/stl.h>

#include "bindings/device_phases.hpp"
#include "bindings/residual_se_call.hpp"
#include "common/phases.hpp"
#include "residual_se/device/arguments.hpp"

namespace clinaug::bindings {
namespace {

namespace py = pybind11;
using phases::Cells;
using phases::SharedMemory;

// The Block of reduce.hpp that is a loop over threads.
class HostBlock {
 public:
  HostBlock(int threads, std::vector<SharedMemory>& cluster, std::size_t rank)
      : threads(threads), cluster_(&cluster), rank_(rank) {}

  const int threads;

  template <class F>
  void each(const F& f) {
    for (int thread = 0; thread < threads; ++thread) {
      enter(thread);
      f(thread);
    }
  }
  void sync() { memory().barrier(); }

  template <class T>
  Cells<T> array(std::int64_t offset) {
    return {memory(), static_cast<std::size_t>(offset)};
  }
  template <int kCount, class T>
  se::Pack<T, kCount> load(const Cells<T>& array, std::int64_t i) {
    return (array + i).template as<se::Pack<T, kCount>>()[0];
  }
  template <int kCount, class T>
  void store(const Cells<T>& array, std::int64_t i, const se::Pack<T, kCount>& pack) {
    (array + i).template as<se::Pack<T, kCount>>()[0] = pack;
  }
  template <int kVector, class T>
  void copy_in(const Cells<T>& array, const T* from, int count, int phase, bool vectors, std::int64_t) {
    const se::Body body = vectors ? se::body_of<kVector>(0, count, phase) : se::Body{count, count};
    each([&](int thread) {
      for (int i = thread; i < body.begin; i += threads) array[i] = from[i];
      for (int i = body.begin + thread * kVector; i < body.end; i += threads * kVector) {
        store<kVector>(array, i, se::read<kVector>(from, i));
      }
      for (int i = body.end + thread; i < count; i += threads) array[i] = from[i];
    });
  }
  void await_copy(std::int64_t) { sync(); }
  template <class T>
  void prefetch(const T*, int) {}

  template <class T>
  Cells<T> peer(const Cells<T>& array, int rank) {
    if (released_) throw std::logic_error("shared memory of another block is read after release_peers()");
    SharedMemory& there = cluster_->at(static_cast<std::size_t>(rank));
    there.enter(id(thread_));
    return array.in(there);
  }
  void release_peers() { released_ = true; }
  void await_peers() {}

  template <class Real, class F, class G>
  void team_sums(int items, const se::Team team, const F& f, const G& g) {
    std::vector<Real> sums(threads), next(threads);
    for (int first = 0; first < items; first += team.of(threads)) {
      const auto item = [&](int thread) { return first + team.of(thread); };
      each([&](int thread) { sums[thread] = item(thread) < items ? f(thread, item(thread)) : Real{0}; });
      for (int bit = team.log - 1; bit >= 0; --bit) {
        for (int thread = 0; thread < threads; ++thread) next[thread] = sums[thread] + sums[thread ^ 1 << bit];
        sums.swap(next);
      }
      each([&](int thread) {
        if (item(thread) < items) g(thread, item(thread), sums[thread]);
      });
    }
  }

 private:
  SharedMemory& memory() { return (*cluster_)[rank_]; }
  int id(int thread) const { return static_cast<int>(rank_) * 4096 + thread; }
  void enter(int thread) {
    thread_ = thread;
    memory().enter(id(thread));
  }

  std::vector<SharedMemory>* cluster_;
  std::size_t rank_;
  int thread_ = 0;
  bool released_ = false;
};

std::vector<SharedMemory> fresh(std::int64_t blocks, std::int64_t bytes, std::size_t word) {
  return std::vector<SharedMemory>(static_cast<std::size_t>(blocks), SharedMemory(static_cast<std::size_t>(bytes), word));
}

// A cluster a sample: `first` in all blocks, the cluster's barrier, `second`.
template <class Element, class First, class Second>
void on_chip(const se::Plan& plan, std::int64_t samples, const First& first, const Second& second) {
  const std::int64_t slices = plan.geometry.slices;
  for (std::int64_t b = 0; b < samples; ++b) {
    std::vector<SharedMemory> cluster = fresh(slices, plan.shared, sizeof(Element) < 4 ? sizeof(Element) : 4);
    std::vector<HostBlock> blocks;
    for (std::int64_t r = 0; r < slices; ++r) blocks.emplace_back(plan.threads, cluster, r);
    for (std::int64_t r = 0; r < slices; ++r) first(blocks[r], b, r);
    for (SharedMemory& memory : cluster) memory.barrier();
    for (std::int64_t r = 0; r < slices; ++r) second(blocks[r], b, r);
  }
}

template <class Body>
void launch(std::int64_t blocks, int threads, std::int64_t bytes, const Body& body) {
  for (std::int64_t index = 0; index < blocks; ++index) {
    std::vector<SharedMemory> memory = fresh(1, bytes, 4);
    HostBlock block(threads, memory, 0);
    body(block, index);
  }
}

// (multiprocessors, shared bytes a block, a multiprocessor, reserved, largest cluster, bytes of L2)
se::Plan plan_of(const se::CudaCall& call, bool backward, const py::tuple& limits, bool vectors) {
  se::DeviceLimits device;
  device.multiprocessors = limits[0].cast<std::int64_t>(), device.shared_per_block = limits[1].cast<std::int64_t>();
  device.shared_per_multiprocessor = limits[2].cast<std::int64_t>(), device.shared_reserved = limits[3].cast<std::int64_t>();
  device.largest_cluster = limits[4].cast<std::int64_t>(), device.l2 = limits[5].cast<std::int64_t>();
  se::Problem problem = se::problem_of(call, backward);
  problem.vectors = vectors;
  return se::make_plan(problem, device);
}

py::dict plan(const py::tuple& call, bool backward, const py::tuple& limits) {
  const se::Plan made = plan_of(as_cuda_call(call), backward, limits, true);
  py::dict told;
  told["on_chip"] = made.on_chip, told["slices"] = made.geometry.slices, told["slice"] = made.geometry.slice;
  told["threads"] = made.threads, told["shared"] = made.shared, told["samples"] = made.samples, told["scratch"] = made.scratch;
  return told;
}

void forward(const py::tuple& described, const py::tuple& addresses, const py::tuple& limits) {
  const se::CudaCall call = as_cuda_call(described);
  const se::ForwardAddresses at = as_forward(addresses);
  se::with_type(call, [&]<class Element>() {
    const auto to = se::forward_of<Element>(call, at);
    const se::Plan plan = plan_of(call, false, limits, se::lie_alike<Element>({at.x, at.skip, at.y}));
    const se::Geometry& g = plan.geometry;
    for (std::int64_t first = 0; first < call.batch; first += plan.samples) {
      const std::int64_t samples = std::min(plan.samples, call.batch - first);
      if (plan.on_chip) {
        on_chip<Element>(
            plan, samples,
            [&](auto& block, auto b, auto r) { forward_squeeze(block, g, plan.offsets, to.from(g, first + b), r); },
            [&](auto& block, auto b, auto r) { forward_excite(block, g, plan.offsets, to.from(g, first + b), r); });
        continue;
      }
      launch(samples * g.slices, plan.threads, plan.shared,
             [&](auto& block, auto i) { forward_sums(block, g, to.streamed(g, first, i / g.slices), i % g.slices); });
      launch(samples, plan.threads, 0, [&](auto& block, auto i) { forward_gates(block, g, to.streamed(g, first, i)); });
      launch(samples * g.slices, plan.threads, 0,
             [&](auto& block, auto i) { forward_apply(block, g, to.streamed(g, first, i / g.slices), i % g.slices); });
    }
  });
}

void backward(const py::tuple& described, const py::tuple& addresses, const py::tuple& limits) {
  const se::CudaCall call = as_cuda_call(described);
  const se::BackwardAddresses at = as_backward(addresses);
  se::with_type(call, [&]<class Element>() {
    using Real = Accumulator<Element>;
    const se::Plan plan = plan_of(call, true, limits, se::lie_alike<Element>({at.x, at.grad_y, at.y, at.grad_x, at.grad_skip}));
    const se::Geometry& g = plan.geometry;
    const auto to = se::backward_of<Element>(call, at, plan);
    for (std::int64_t first = 0; first < call.batch; first += plan.samples) {
      const std::int64_t samples = std::min(plan.samples, call.batch - first);
      if (plan.on_chip) {
        on_chip<Element>(
            plan, samples,
            [&](auto& block, auto b, auto r) { backward_squeeze(block, g, plan.offsets, to.from(g, first + b), r); },
            [&](auto& block, auto b, auto r) { backward_spread(block, g, plan.offsets, to.from(g, first + b), r); });
        continue;
      }
      launch(samples * g.slices, plan.threads, plan.shared,
             [&](auto& block, auto i) { backward_sums(block, g, to.streamed(g, first, i / g.slices), i % g.slices); });
      launch(samples, plan.threads, plan.shared,
             [&](auto& block, auto i) { backward_gates(block, g, to.streamed(g, first, i)); });
      launch(samples * g.slices, plan.threads, 0,
             [&](auto& block, auto i) { backward_apply(block, g, to.streamed(g, first, i / g.slices), i % g.slices); });
    }
    const auto grads = se::weight_grads_of<Element>(call, at);
    const se::WeightTiles tiles(call.channels, call.hidden);
    constexpr int kThreads = 64;  // two warps are enough to see their sums added
    launch(tiles.channels * tiles.units, kThreads, se::weight_grads_shared<Real>(kThreads),
           [&](auto& block, auto i) { weight_grads(block, grads, i % tiles.channels, i / tiles.channels); });
  });
}

template <class Element>
std::vector<float> widen_all(const std::vector<int>& bits) {
  std::vector<float> values;
  for (const int one : bits) values.push_back(widen(Element{static_cast<std::uint16_t>(one)}));
  return values;
}

template <class Element>
std::vector<std::int16_t> narrow_all(const std::vector<float>& values) {
  std::vector<std::int16_t> bits;
  for (const float value : values) bits.push_back(static_cast<std::int16_t>(narrow<Element>(value).bits));
  return bits;
}

}  // namespace

void bind_residual_se_phases(py::module_& module) {
  module.def("residual_se_cuda_plan", &plan, py::arg("call"), py::arg("backward"), py::arg("limits"),
             "how residual_se is laid over a device");
  module.def("residual_se_cuda_forward", &forward, py::arg("call"), py::arg("addresses"), py::arg("limits"),
             "as _native.residual_se_cuda_forward");
  module.def("residual_se_cuda_backward", &backward, py::arg("call"), py::arg("addresses"), py::arg("limits"),
             "as _native.residual_se_cuda_backward");
  module.def("quotient", [](int n, std::int64_t d) { return Divider(d).quotient(n); }, py::arg("n"), py::arg("d"), "n // d");
  module.def("float16_to_float", &widen_all<Half>, py::arg("bits"), "halves by their bits, as floats");
  module.def("bfloat16_to_float", &widen_all<Bfloat16>, py::arg("bits"), "the same of bfloat16");
  module.def("float_to_float16", &narrow_all<Half>, py::arg("values"), "the bits of floats as halves");
  module.def("float_to_bfloat16", &narrow_all<Bfloat16>, py::arg("values"), "the same of bfloat16");
}

}  // namespace clinaug::bindings
