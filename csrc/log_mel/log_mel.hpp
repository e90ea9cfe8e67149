// log_mel: waveform -> log(max(M |STFT(x)|^power, floor)), the plan of one contract.
#pragma once

#include <cstdint>
#include <vector>

#include "common/view.hpp"
#include "log_mel/fft.hpp"
#include "log_mel/lanes/dispatch.hpp"
#include "log_mel/lanes/lanes_plan.hpp"
#include "log_mel/params.hpp"
#include "log_mel/tables.hpp"

namespace clinaug {

// Tables of a contract; immutable, so any number of threads may run it at once.
class LogMelPlan {
 public:
  LogMelPlan(const LogMelParams& params, InstructionSet instruction_set);

  const LogMelParams& params() const { return params_; }

  // x: (batch, samples), any strides; out: (batch, n_mels, n_frames), any strides.
  // In: float, double, int16 (scaled by 1/32768). Out: float, double, Half.
  // Single precision in and out takes the fast path (lanes/), double precision on either side the plain one.
  template <class In, class Out>
  void run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const;

 private:
  struct Workspace;

  template <class In, class Out>
  void run_plain(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const;
  template <class In>
  void load_frame(const In* x, std::int64_t n_samples, std::int64_t stride, std::int64_t frame, Workspace& work) const;
  void spectrum(Workspace& work) const;
  double log_of_band(const MelBand& band, const Workspace& work) const;

  LogMelParams params_;
  std::vector<double> window_;
  std::vector<MelBand> bands_;
  Fft fft_;
  std::vector<Complex> half_roots_;  // exp(-2 pi i k / n_fft), k <= n_fft / 4, where n_fft is even
  double log_scale_;
  lanes::LanesPlan lanes_;
};

}  // namespace clinaug
