// log_mel: waveform -> log(max(M |STFT(x)|^power, floor)), the plan of one contract.
//
// float and int16 samples are transformed in single precision, the frames apart of which single precision is not enough
// (Doubt, lanes/tables.hpp): these are computed again in double precision, so that no value is further than 2e-4 dB
// from the one that double precision gives. A clip that holds little else, and doubles, in or out, take double precision
// throughout.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "common/numbers.hpp"
#include "common/view.hpp"
#include "log_mel/lanes/dispatch.hpp"
#include "log_mel/lanes/lanes_plan.hpp"
#include "log_mel/params.hpp"

namespace clinaug {

// Tables of a contract; immutable as seen from outside, so any number of threads may run it at once.
class LogMelPlan {
 public:
  LogMelPlan(const LogMelParams& params, InstructionSet instruction_set)
      : params_(params), instruction_set_(instruction_set) {}

  const LogMelParams& params() const { return params_; }

  // x: (batch, samples), any strides; out: (batch, n_mels, n_frames), any strides.
  // In: float, double, int16 (scaled by 1/32768). Out: float, double, Half.
  // glance: look at some frames of each clip first, whether it is mostly doubtful, of short clips too; it costs these least
  // where many are in the batch. A clip's bits depend on that clip and on this choice alone.
  template <class In, class Out>
  void run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads, bool glance = false) const;

 private:
  template <class In, class Out>
  void run_single(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const;
  template <class In, class Out>
  void run_full(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const;

  // The tables of a precision, made when they are first needed.
  template <class Real>
  struct Precision {
    std::once_flag made;
    std::unique_ptr<lanes::LanesPlan<Real>> plan;
  };

  const lanes::LanesPlan<float>& single() const;
  const lanes::LanesPlan<double>& full() const;

  LogMelParams params_;
  InstructionSet instruction_set_;
  mutable Precision<float> single_;
  mutable Precision<double> full_;
};

}  // namespace clinaug
