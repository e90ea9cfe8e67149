// Plain PCM WAV: RIFF/WAVE with 8-bit unsigned, 16, 24 or 32-bit integer, 32 or 64-bit float samples, also as
// WAVE_FORMAT_EXTENSIBLE. Values are those of libsndfile, bit for bit: 16-bit integers as they are, all others as the
// float32 that it converts them to. What is unusual in any way is not plain and left to libsndfile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>

#include "audio/samples.hpp"
#include "common/fresh.hpp"

namespace clinaug {

// Not a plain WAV file; says why. No verdict on the file: libsndfile may well read it.
class NotPlain : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class SampleFormat { u8, s16, s24, s32, f32, f64 };

// A header that was understood, and the sample bytes, which all lie in the file.
struct Wav {
  SampleFormat format;
  std::int64_t rate;      // Hz
  std::int64_t channels;
  std::int64_t frames;    // samples a channel, at least 1
  std::span<const std::byte> data;
};

// Throws NotPlain: no RIFF/WAVE, another codec, fields that contradict each other, a chunk that is not known, no samples,
// a length left open (0 or 0xFFFFFFFF), fewer bytes than declared. `file` must outlive the result.
Wav parse_wav(std::span<const std::byte> file);

inline constexpr std::size_t kLargestRiff = 8 + std::size_t{0xFFFFFFFF};  // bytes: what its length can say
inline constexpr std::size_t kLargeFile = 4 << 20;  // bytes; the memory of larger ones is accounted for elsewhere

// What a file is read for; a large one that does not fit is not read to its end.
struct Wanted {
  bool part;          // only a part of it: large files are left to libsndfile, which seeks
  std::int64_t rate;  // Hz; 0: any
  std::size_t most;   // bytes; a file may be larger by now than whoever asks for it believes
};

// The whole file into `bytes`, whose memory is kept for the next one. Throws NotPlain where it cannot be read, is no
// regular file, does not begin as RIFF/WAVE or is not as wanted.
void read_wav_bytes(const std::string& path, Wanted wanted, Fresh<std::byte>& bytes);

// Frames of a part of the file.
struct Segment {
  std::int64_t start, stop;
};

inline constexpr float kLoudest = 1e12f;  // of a float sample, full scale being 1: sums and filters of any more may overflow

// Frames [start, stop) from times in seconds, NaN standing for the file's own start and end; rounded half to even, as
// Python does. A segment may end up to kOverhang behind the file, where it is cut. Throws NotPlain where it ends later, and
// where nothing lies between.
inline constexpr double kOverhang = 0.5;  // seconds; annotations are rounded
Segment find_segment(const Wav& wav, double start_s, double end_s);

// Interleaved samples of a segment: a view of the file's own for 16-bit, of `converted` otherwise. Throws NotPlain for
// NaN and infinity.
using Interleaved = std::variant<std::span<const std::int16_t>, std::span<const float>>;
Interleaved interleaved(const Wav& wav, Segment segment, Fresh<float>& converted);

// Of what `interleaved` gave, full scale being the format's own.
Level measure_level(const Wav& wav, std::span<const std::int16_t> samples);
Level measure_level(const Wav& wav, std::span<const float> samples);

}  // namespace clinaug
