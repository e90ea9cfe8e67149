// Plain WAV files to the log-mels of their clips in one pass, without Python: read, mix down, cut, log_mel.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "audio/samples.hpp"
#include "log_mel/log_mel.hpp"

namespace clinaug {

// How a recording is cut: windows every `stride` samples, the rest at the end dropped; one shorter than a window gives
// one, padded with zeros behind or repeated. Windows of less than quiet_ratio times the loudest one's energy are dropped.
struct ClipCut {
  std::int64_t length;   // samples of a window
  std::int64_t stride;   // samples from one to the next
  bool tile;
  double min_seconds;    // shorter recordings are not taken,
  double max_seconds;    // nor longer ones
  double quiet_ratio;
};

struct WavRequest {
  std::string path;
  double start_s, end_s;  // NaN: the file's own start, end
};

// What was found of a file; all zero for one that was not taken. Python reads it as it lies in memory: 8 bytes a field.
struct WavClips {
  std::int64_t n_clips = 0;
  std::int64_t n_windows = 0;  // with the quiet ones
  std::int64_t rate = 0, channels = 0;
  std::int64_t n_samples = 0;  // a channel
  double peak = 0.0;           // these as in Level
  std::int64_t clipped = 0;
  double square_sum = 0.0;
  std::int64_t silent = 0;
  double mono_power = 0.0;     // mean of x^2 of the channels' mean
};

struct WavBatch {
  std::vector<WavClips> files;                                 // in the order of the requests
  std::vector<std::pair<std::int64_t, std::string>> not_taken;  // which, and why they are left to the other path
  Fresh<std::int64_t> numbers;                           // of each clip: its window's place in the recording
  Fresh<float> mels;                                     // (clips, n_mels, n_frames), file after file
  std::int64_t read_ns = 0, mel_ns = 0;
};

// A file that is not plain, of another rate than the plan's, too short, too long or unreadable is not taken. Result i depends on
// request i alone.
WavBatch wav_log_mel(const LogMelPlan& plan, const ClipCut& cut, const std::vector<WavRequest>& requests);

}  // namespace clinaug
