#include "log_mel/log_mel.hpp"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "common/parallel.hpp"
#include "log_mel/lanes/walk.hpp"

namespace clinaug {
namespace {

using lanes::Index;

// A thread costs some ten microseconds; it pays from about this many samples transformed.
constexpr Index kSamplesWorthAThread = 1 << 18;

// All tiles of a walk, on several threads where that pays. again(...) as Walk::run calls it.
template <class Real, class Walk, class Again>
void run_tiles(const lanes::LanesPlan<Real>& plan, const Walk& walk, std::int64_t threads, const Again& again) {
  const Index n_tiles = walk.n_tiles();
  const Index worth_a_thread = kSamplesWorthAThread / (walk.tile() * plan.params().n_fft) + 1;
  const Index workers = std::clamp<Index>(n_tiles / worth_a_thread, 1, threads);
  // Tiles are claimed in runs, as each prefetches the next, and in ever shorter ones: a thread that starts late does less.
  std::atomic<Index> next = 0;
  const auto claim = [&](Index& begin, Index& end) {
    begin = next;
    do {
      end = workers == 1 ? n_tiles : begin + std::max<Index>(1, (n_tiles - begin) / (2 * workers));
    } while (begin < n_tiles && !next.compare_exchange_weak(begin, end));
    return begin < n_tiles;
  };
  parallel_for(workers, workers, 1, [&](Index, Index) {
    std::unique_ptr<lanes::Workspace> work = plan.workspaces().take();
    for (Index begin, end; claim(begin, end);) walk.run(begin, end, *work, again);
    plan.workspaces().give_back(std::move(work));
  });
}

}  // namespace

const lanes::LanesPlan<float>& LogMelPlan::single() const {
  std::call_once(single_.made, [&] { single_.plan = std::make_unique<lanes::LanesPlan<float>>(params_, lanes::kernel_of<float>(instruction_set_)); });
  return *single_.plan;
}

const lanes::LanesPlan<double>& LogMelPlan::full() const {
  std::call_once(full_.made, [&] { full_.plan = std::make_unique<lanes::LanesPlan<double>>(params_, lanes::kernel_of<double>(instruction_set_)); });
  return *full_.plan;
}

template <class In, class Out>
void LogMelPlan::run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  if (x.extent[0] == 0 || out.extent[2] == 0) return;
  if constexpr (std::is_same_v<In, double> || std::is_same_v<Out, double>) {
    const lanes::Walk<double, In, Out> walk(full(), x, out);
    run_tiles(full(), walk, threads, [](Index, Index, const std::int32_t*) {});
  } else {
    const lanes::Walk<float, In, Out> walk(single(), x, out);
    run_tiles(single(), walk, threads, [&](Index first, Index n, const std::int32_t* doubtful) {
      std::unique_ptr<lanes::Workspace> work = full().workspaces().take();
      lanes::Walk<double, In, Out>(full(), x, out).run_some(first, n, doubtful, *work);
      full().workspaces().give_back(std::move(work));
    });
  }
}

template void LogMelPlan::run(View<const float, 2>, View<float, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const float, 2>, View<Half, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const float, 2>, View<double, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const double, 2>, View<float, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const double, 2>, View<double, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<float, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<Half, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<double, 3>, std::int64_t) const;

}  // namespace clinaug
