// log_mel on a GPU: the tables of one contract as one block of bytes, and what a launch needs to know. Ordinary C++: it is
// compiled, and tested with the kernel's phases, where there is no CUDA compiler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "log_mel/device/call.hpp"
#include "log_mel/params.hpp"

namespace clinaug::device {

// The n_fft that have a kernel, ascending, each with the shared memory that a block takes, in bytes.
std::vector<std::pair<std::int64_t, std::int64_t>> log_mel_sizes();

struct Waveforms {
  const void* address = nullptr;
  bool int16 = false;  // scaled by 1/32768; float otherwise
  std::int64_t batch = 0, n_samples = 0;
  std::int64_t row_stride = 0;  // in elements; the samples of a row lie side by side
};

class Plan {
 public:
  // Throws std::invalid_argument where n_fft has no kernel.
  explicit Plan(const LogMelParams& params);

  const LogMelParams& params() const { return params_; }

  // What has to lie at `tables`, aligned to 16 bytes, on the device of a call.
  const std::vector<std::byte>& tables() const { return tables_; }

  // out: (batch, n_mels, n_frames) float or half, dense. Throws std::invalid_argument for more frames than a launch takes.
  Call call(const Waveforms& x, void* out, bool half_out, const void* tables) const;

 private:
  template <class T>
  std::size_t append(const std::vector<T>& values);
  template <class S>
  void make_twiddles(S);
  void make_windows();
  void make_bands(int threads, int lanes, int abreast);

  LogMelParams params_;
  std::vector<std::byte> tables_;
  std::size_t window_at_ = 0, int16_window_at_ = 0, row_twiddles_at_ = 0, middle_twiddles_at_ = 0;
  std::size_t bands_at_ = 0, weights_at_ = 0;
  std::int32_t rounds_ = 0, split_ = 1, frames_a_tile_ = 1;
};

}  // namespace clinaug::device
