// The fast path of log_mel, in single precision: the tables of one contract for one instruction set.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "common/view.hpp"
#include "log_mel/lanes/tables.hpp"
#include "log_mel/lanes/transform_plan.hpp"
#include "log_mel/lanes/workspace.hpp"
#include "log_mel/params.hpp"
#include "log_mel/tables.hpp"

namespace clinaug::lanes {

// How a tile of the waveform lies transposed in memory: `rows` samples of a column below each other.
struct Layout {
  Index carry;  // columns that a frame reaches beyond its first
  std::vector<int> offsets;
  Tables tables;
  Chirp chirp;
};

class LanesPlan {
 public:
  LanesPlan(const LogMelParams& params, const Kernel& kernel);

  // As LogMelPlan::run, for In float and int16, Out float and Half.
  template <class In, class Out>
  void run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const;

 private:
  void make_weights();
  void make_mel();
  void make_layout(Index rows, Layout& layout) const;

  LogMelParams params_;
  const Kernel& kernel_;
  bool smooth_;  // the transform's size is n_fft; else it is longer, and the chirp makes up for it
  TransformPlan transform_;
  std::vector<float> weights_;  // window, times the chirp's real part if not smooth; by place, zero outside the window
  std::vector<float> sine_weights_;
  std::vector<float> ones_;
  std::vector<float> chirp_spectrum_;
  std::vector<int> natural_offsets_;
  MelWalk mel_walk_;
  Mel mel_{};
  Layout overlapped_{};  // a column is a hop: neighbouring frames share their samples
  Layout separate_{};    // a column is a frame
  mutable WorkspacePool workspaces_;
};

}  // namespace clinaug::lanes
