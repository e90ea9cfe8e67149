#include "log_mel/log_mel.hpp"

#include <algorithm>
#include <atomic>
#include <type_traits>
#include <vector>

#include "common/parallel.hpp"
#include "log_mel/lanes/walk.hpp"

namespace clinaug {
namespace {

using lanes::Index;

// A thread costs some ten microseconds; it pays from about this many samples transformed.
constexpr Index kSamplesWorthAThread = 1 << 18;
constexpr Index kLongClip = 2048;  // frames, beside which a vector of them is little

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

// A frame in double precision costs two in single precision: a clip most of whose frames are doubtful is better computed in
// double precision at once. A glance at one of 32 frames, at most kGlanced, tells: those of several clips are looked at together,
// a clip alone is worth it where it is long.
template <class Walk>
std::vector<char> doubtful_clips(const lanes::LanesPlan<float>& plan, const Walk& walk, Index clips, Index frames, std::int64_t threads) {
  std::vector<char> doubtful(clips);
  const Index each = std::min(frames / 32, lanes::kGlanced);
  if (each < 2) return doubtful;
  const Index at_once = lanes::kGlanced / each;
  const Index grain = kSamplesWorthAThread / (lanes::kGlanced * plan.params().n_fft) + 1;
  parallel_for((clips + at_once - 1) / at_once, threads, grain, [&](Index begin, Index end) {
    std::unique_ptr<lanes::Workspace> work = plan.workspaces().take();
    for (Index first = begin * at_once; first < std::min(end * at_once, clips); first += at_once) {
      walk.glance(first, std::min(at_once, clips - first), each, *work, &doubtful[first]);
    }
    plan.workspaces().give_back(std::move(work));
  });
  return doubtful;
}

template <class T, std::size_t Rank>
View<T, Rank> part(View<T, Rank> whole, Index first, Index n) {
  whole.data += first * whole.stride[0];
  whole.extent[0] = n;
  return whole;
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
void LogMelPlan::run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads, bool glance) const {
  if (x.extent[0] == 0 || out.extent[2] == 0) return;
  if constexpr (std::is_same_v<In, double> || std::is_same_v<Out, double>) {
    run_full(x, out, threads);
  } else {
    const Index clips = x.extent[0], frames = out.extent[2];
    if (!glance && frames < kLongClip) {
      run_single(x, out, threads);
      return;
    }
    const lanes::Walk<float, In, Out> scattered(single(), single().scattered(), x, out);
    const std::vector<char> doubtful = doubtful_clips(single(), scattered, clips, frames, threads);
    for (Index first = 0; first < clips;) {
      Index n = 1;
      while (first + n < clips && doubtful[first + n] == doubtful[first]) ++n;
      doubtful[first] ? run_full(part(x, first, n), part(out, first, n), threads) : run_single(part(x, first, n), part(out, first, n), threads);
      first += n;
    }
  }
}

template <class In, class Out>
void LogMelPlan::run_full(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  run_tiles(full(), lanes::Walk<double, In, Out>(full(), x, out), threads, [](Index, Index, const std::int32_t*) {});
}

template <class In, class Out>
void LogMelPlan::run_single(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  const lanes::Walk<float, In, Out> walk(single(), x, out);
  run_tiles(single(), walk, threads, [&](Index first, Index n, const std::int32_t* doubtful) {
    std::unique_ptr<lanes::Workspace> work = full().workspaces().take();
    lanes::Walk<double, In, Out>(full(), x, out).run_some(first, n, doubtful, *work);
    full().workspaces().give_back(std::move(work));
  });
}

template void LogMelPlan::run(View<const float, 2>, View<float, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const float, 2>, View<Half, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const float, 2>, View<double, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const double, 2>, View<float, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const double, 2>, View<double, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<float, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<Half, 3>, std::int64_t, bool) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<double, 3>, std::int64_t, bool) const;

}  // namespace clinaug
