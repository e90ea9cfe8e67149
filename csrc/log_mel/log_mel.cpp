#include "log_mel/log_mel.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "common/parallel.hpp"
#include "log_mel/lanes/walk.hpp"
#include "log_mel/redo.hpp"
#include "log_mel/tilt.hpp"

namespace clinaug {
namespace {

using lanes::Index;
using lanes::Way;

// A thread costs some ten microseconds; it pays from about this many samples transformed.
constexpr Index kSamplesWorthAThread = 1 << 18;
constexpr Index kShortClip = 32;  // frames, beside which a glance costs too much
constexpr Index kLongClip = 256;  // beside which it costs next to nothing

// All tiles of a walk, on several threads where that pays. make_redo() makes each of them a Redo.
template <class Real, class Walk, class MakeRedo>
void run_tiles(const lanes::LanesPlan<Real>& plan, const Walk& walk, std::int64_t threads, const MakeRedo& make_redo) {
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
    auto redo = make_redo();
    const auto again = [&](Way way, Index first, Index n, const Way* needs) {
      redo.take(walk, way, first, n, needs);
    };
    for (Index begin, end; claim(begin, end);) walk.run(begin, end, *work, again);
    redo.finish();
    plan.workspaces().give_back(std::move(work));
  });
}

// What a frame costs, in frames in single precision: computed with the others of its clip, or among few.
constexpr double kEmphasised = 1.15, kFull = 2.0, kEmphasisedAlone = 2.0, kFullAlone = 3.5;

Way cheapest(const lanes::Seen& seen) {
  const auto frames = [&](Way way) { return static_cast<double>(seen[static_cast<int>(way)]); };
  const double all = frames(Way::plain) + frames(Way::emphasised) + frames(Way::full);
  const double full_alone = kFullAlone * frames(Way::full);
  const double plain = all + kEmphasisedAlone * frames(Way::emphasised) + full_alone;
  const double emphasised = kEmphasised * all + full_alone;
  if (all < 2.0 || plain <= std::min(emphasised, kFull * all)) return Way::plain;
  return emphasised <= kFull * all ? Way::emphasised : Way::full;
}

// The way that is cheapest for all of a clip, by a glance at one of 32 frames, at least two and at most kScattered, of several clips
// together. Clips that are not long are worth it where they tilt: of white noise, single precision carries all.
template <class In, class Walk>
std::vector<Way> ways_of_clips(const lanes::LanesPlan<float>& plan, const Walk& walk, View<const In, 2> x, Index frames,
                               std::int64_t threads) {
  const Index clips = x.extent[0];
  std::vector<Way> ways(clips, Way::plain);
  if (frames < kShortClip) return ways;
  const Index each = std::clamp<Index>(frames / 32, 2, lanes::kScattered), at_once = lanes::kScattered / each;
  constexpr Index kTogether = lanes::kScattered;
  const Index grain = kSamplesWorthAThread / (kTogether * each * plan.params().n_fft) + 1;
  parallel_for((clips + kTogether - 1) / kTogether, threads, grain, [&](Index begin, Index end) {
    std::vector<Index> worth_it;
    for (Index clip = begin * kTogether; clip < std::min(end * kTogether, clips); ++clip) {
      const View<const In, 1> samples{x.data + clip * x.stride[0], {x.extent[1]}, {x.stride[1]}};
      if (frames >= kLongClip || tilts(samples)) worth_it.push_back(clip);
    }
    if (worth_it.empty()) return;
    std::unique_ptr<lanes::Workspace> work = plan.workspaces().take();
    for (Index first = 0, n; first < static_cast<Index>(worth_it.size()); first += n) {
      n = std::min(at_once, static_cast<Index>(worth_it.size()) - first);
      lanes::Seen seen[lanes::kScattered] = {};
      walk.glance(&worth_it[first], n, each, *work, seen);
      for (Index i = 0; i < n; ++i) ways[worth_it[first + i]] = cheapest(seen[i]);
    }
    plan.workspaces().give_back(std::move(work));
  });
  return ways;
}

}  // namespace

template <class In, class Out>
void LogMelPlan::run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  const lanes::Clips<In, Out> all{x, out, x.extent[0]};
  if (all.n == 0 || all.n_frames() == 0) return;
  if constexpr (!kMaySingle<In, Out>) {
    run_clips(Way::full, all, threads);
  } else {
    const lanes::Walk<float, In, Out> scattered(ways_.plain(), ways_.plain().scattered(), all);
    const std::vector<Way> ways = ways_of_clips(ways_.plain(), scattered, x, all.n_frames(), threads);
    for (const Way way : {Way::plain, Way::emphasised, Way::full}) {
      std::vector<Index> rows;
      for (Index clip = 0; clip < all.n; ++clip) {
        if (ways[clip] == way) rows.push_back(clip);
      }
      const auto n = static_cast<Index>(rows.size());
      if (n > 0) run_clips(way, n == all.n ? all : lanes::Clips<In, Out>{x, out, n, rows.data()}, threads);
    }
  }
}

template <class In, class Out>
void LogMelPlan::run_clips(Way way, const lanes::Clips<In, Out>& clips, std::int64_t threads) const {
  ways_.with<In, Out>(way, [&]<class Real>(const lanes::LanesPlan<Real>& plan) {
    run_tiles(plan, lanes::Walk<Real, In, Out>(plan, clips), threads, [&] { return Redo<In, Out>(ways_, clips); });
  });
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
