// The frames of a call that are computed once more, as single precision was not enough: long runs of them as they come, the
// others once they fill vectors. One thread's.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "log_mel/lanes/walk.hpp"
#include "log_mel/ways.hpp"

namespace clinaug {

template <class In, class Out>
class Redo {
  using Index = lanes::Index;
  using Way = lanes::Way;

 public:
  Redo(const Ways& ways, const lanes::Clips<In, Out>& clips) : ways_(ways), clips_(clips) {}

  // Those of the columns [first, first + n) of a walk that need `way`.
  template <class Walk>
  void take(const Walk& walk, Way way, Index first, Index n, const Way* needs) {
    const Index wanted = std::count(needs, needs + n, way);
    if (kLongRun <= wanted && n <= 2 * wanted) {
      use(way, false, [&](const auto& again, lanes::Workspace& work) {
        again.run_some(way, first, n, needs, work, [&](Way other, Index begin, Index count, const Way* still) {
          take(again, other, begin, count, still);
        });
      });
      return;
    }
    for (Index j = 0; j < n; ++j) {
      if (needs[j] == way) take(way, walk.frame(first + j));
    }
  }

  // Those that still wait.
  void finish() {
    for (const Way way : {Way::emphasised, Way::full}) run_waiting(way);
  }

 private:
  // Frames; a run that shares their samples then costs less than one by one, whatever the lanes.
  static constexpr Index kLongRun = 24;

  void take(Way way, Index frame) {
    waiting(way).push_back(frame);
    if (static_cast<Index>(waiting(way).size()) == lanes::kScattered) run_waiting(way);
  }

  void run_waiting(Way way) {
    const std::vector<Index> frames = std::exchange(waiting(way), {});
    if (frames.empty()) return;
    use(way, true, [&](const auto& again, lanes::Workspace& work) {
      again.run_listed(frames.data(), static_cast<Index>(frames.size()), work, [&](Way other, Index frame) { take(other, frame); });
    });
  }

  template <class Run>
  void use(Way way, bool scattered, const Run& run) {
    ways_.with<In, Out>(way, [&]<class Real>(const lanes::LanesPlan<Real>& plan) {
      std::unique_ptr<lanes::Workspace> work = plan.workspaces().take();
      const lanes::Layout<Real>& layout = scattered ? plan.scattered() : plan.layout(clips_.n, clips_.n_frames());
      run(lanes::Walk<Real, In, Out>(plan, layout, clips_), *work);
      plan.workspaces().give_back(std::move(work));
    });
  }

  std::vector<Index>& waiting(Way way) { return way == Way::emphasised ? emphasised_ : full_; }

  const Ways& ways_;
  lanes::Clips<In, Out> clips_;
  std::vector<Index> emphasised_, full_;
};

}  // namespace clinaug
