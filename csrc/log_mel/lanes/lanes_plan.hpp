// The frames-in-lanes log_mel in one precision: the tables of one contract for one instruction set.
#pragma once

#include <cmath>
#include <vector>

#include "common/view.hpp"
#include "log_mel/lanes/tables.hpp"
#include "log_mel/lanes/transform_plan.hpp"
#include "log_mel/lanes/workspace.hpp"
#include "log_mel/params.hpp"
#include "log_mel/tables.hpp"

namespace clinaug::lanes {

constexpr Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

// How a tile of the waveform lies transposed in memory: `rows` samples of a column below each other.
template <class Real>
struct Layout {
  std::vector<int> offsets, before;  // before: empty without pre-emphasis
  Tables<Real> tables;
  Chirp<Real> chirp;
};

// Of pre-emphasis. Falling spectra come out flat, down to some 25 dB, and a flat one still is far enough above the noise.
inline constexpr double kEmphasis = 0.95;

template <class Real>
class LanesPlan {
 public:
  // emphasis: frames are transformed as x[t] - emphasis x[t - 1], windowed before, and bands made up for it; or 0.
  // half: of half as many lanes, or null.
  LanesPlan(const LogMelParams& params, const Kernel<Real>& kernel, const Kernel<Real>* half, double emphasis);

  const LogMelParams& params() const { return params_; }
  const Kernel<Real>& kernel() const { return kernel_; }

  // Null, too, where the tables are made for the lanes of the kernel.
  const Kernel<Real>* half_kernel() const { return smooth_ ? half_kernel_ : nullptr; }
  WorkspacePool& workspaces() const { return workspaces_; }

  // For `clips` clips of `frames` frames; its columns are the same in both precisions.
  const Layout<Real>& layout(Index clips, Index frames) const;

  // For kScattered frames from anywhere.
  const Layout<Real>& scattered() const { return scattered_; }

 private:
  Index slot(Index bin) const { return bin / block_length_ * block_stride_ + bin % block_length_; }
  bool in_window(Index t) const { return t >= window_start(params_) && t < window_start(params_) + params_.win_length; }
  Index before(Index t) const { return (t + params_.n_fft - 1) % params_.n_fft; }
  double power_gain(double emphasis, Index bin) const;
  double gain(double emphasis, Index bin) const {
    return params_.power == 1 ? std::sqrt(power_gain(emphasis, bin)) : power_gain(emphasis, bin);
  }
  void make_weights();
  void make_mel();
  Doubt<Real> make_doubt(double emphasis, std::vector<Real>& shares, std::vector<Real>& inverse_widths) const;
  void make_reliefs();
  void choose_sizes(Index largest_tile, Tables<Real>& tables) const;
  void make_layout(Index rows, Index largest_tile, Layout<Real>& layout) const;

  LogMelParams params_;
  const Kernel<Real>& kernel_;
  const Kernel<Real>* half_kernel_;
  double emphasis_;
  bool smooth_;  // the transform's size is n_fft; else it is longer, and the chirp makes up for it
  TransformPlan<Real> transform_;
  Index n_blocks_, block_length_, block_stride_;
  std::vector<int> targets_;
  std::vector<Real> weights_;  // window, times the chirp's real part if not smooth; by place, zero outside the window
  std::vector<Real> sine_weights_;
  std::vector<Real> carried_, sine_carried_;  // the same for the samples before
  std::vector<Real> ones_;
  std::vector<Real> chirp_spectrum_;
  std::vector<int> natural_offsets_;
  std::vector<int> mel_starts_;
  std::vector<Real> mel_slopes_;
  std::vector<Real> shares_, emphasised_shares_;
  std::vector<Real> inverse_widths_, emphasised_inverse_widths_, reliefs_;
  std::vector<Real> gains_;
  Mel<Real> mel_{};
  Doubt<Real> doubt_{}, emphasised_{};
  Layout<Real> overlapped_{};  // a column is a hop: neighbouring frames share their samples
  Layout<Real> separate_{};    // a column is a frame
  Layout<Real> scattered_{};   // the same, of few frames
  mutable WorkspacePool workspaces_;
};

}  // namespace clinaug::lanes
