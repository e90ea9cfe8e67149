// log_mel: waveform -> log(max(M |STFT(x)|^power, floor)), the plan of one contract.
//
// float and int16 samples are transformed in single precision, the frames apart of which that is not enough (Doubt,
// lanes/tables.hpp): these are computed again with pre-emphasis, where that is, or in double precision. No value of a recording
// was further than 2e-4 dB from the one that double precision gives, of hostile signals 5e-4 dB (bench/RESULTS.md). A clip that holds
// little else takes one of these ways at once, and doubles, in or out, take double precision.
#pragma once

#include <cstdint>

#include "common/numbers.hpp"
#include "common/view.hpp"
#include "log_mel/lanes/clips.hpp"
#include "log_mel/params.hpp"
#include "log_mel/ways.hpp"

namespace clinaug {

// Tables of a contract; immutable as seen from outside, so any number of threads may run it at once.
class LogMelPlan {
 public:
  LogMelPlan(const LogMelParams& params, InstructionSet instruction_set) : ways_(params, instruction_set) {}

  const LogMelParams& params() const { return ways_.params(); }

  // x: (batch, samples), any strides; out: (batch, n_mels, n_frames), any strides.
  // In: float, double, int16 (scaled by 1/32768). Out: float, double, Half.
  // A clip's bits depend on that clip alone.
  template <class In, class Out>
  void run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const;

 private:
  template <class In, class Out>
  void run_clips(lanes::Way way, const lanes::Clips<In, Out>& clips, std::int64_t threads) const;

  Ways ways_;
};

}  // namespace clinaug
