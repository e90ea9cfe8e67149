// Plain WAV files to the log-mels of their clips in one pass, without Python: read, mix down, cut, log_mel.
#pragma once

#include <cstdint>
#include <string>
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
  double min_seconds;    // shorter recordings are not taken
  double quiet_ratio;
};

struct WavRequest {
  std::string path;
  double start_s, end_s;  // NaN: the file's own start, end
};

struct WavClips {
  std::string not_taken;              // why this file is left to the other path; empty: taken
  std::vector<std::int64_t> numbers;  // the windows kept, by their place
  std::int64_t n_windows = 0;         // with the quiet ones
  std::int64_t rate = 0, channels = 0;
  std::int64_t n_samples = 0;         // a channel
  Level level;
};

struct WavBatch {
  std::vector<WavClips> files;  // in the order of the requests
  std::vector<float> mels;      // (clips, n_mels, n_frames), file after file
  std::int64_t read_ns = 0, mel_ns = 0;
};

// A file that is not plain, of another rate than the plan's, too short or unreadable is not taken. Result i depends on
// request i alone.
WavBatch wav_log_mel(const LogMelPlan& plan, const ClipCut& cut, const std::vector<WavRequest>& requests);

}  // namespace clinaug
