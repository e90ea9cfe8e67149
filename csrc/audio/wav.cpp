#include "audio/wav.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

namespace clinaug {
namespace {

static_assert(std::endian::native == std::endian::little, "samples are taken as they lie in the file");

using Bytes = std::span<const std::byte>;

constexpr std::uint16_t kPcm = 1, kFloat = 3, kExtensible = 0xFFFE;
constexpr std::int64_t kMostChannels = 1024;  // libsndfile's limit
constexpr std::size_t kRiffHead = 12, kChunkHead = 8;
constexpr std::size_t kSmallFile = 64 << 10;
constexpr std::size_t kHead = 4 << 10;  // of a file that is not small: enough to tell what it is

// KSDATAFORMAT_SUBTYPE_PCM and _IEEE_FLOAT behind their first two bytes, which are the format's number.
constexpr std::array<unsigned char, 14> kSubtypeTail = {0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71};

// Copies: a field of a damaged file may lie anywhere.
template <class Int>
Int load(Bytes bytes, std::size_t at) {
  Int value;
  std::memcpy(&value, bytes.subspan(at, sizeof(Int)).data(), sizeof(Int));
  return value;
}

std::string_view name_at(Bytes bytes, std::size_t at) { return {reinterpret_cast<const char*>(bytes.data()) + at, 4}; }

bool is_riff_wave(Bytes bytes) {
  return bytes.size() >= kRiffHead && name_at(bytes, 0) == "RIFF" && name_at(bytes, 8) == "WAVE";
}

std::int64_t sample_bytes(SampleFormat format) {
  switch (format) {
    case SampleFormat::u8: return 1;
    case SampleFormat::s16: return 2;
    case SampleFormat::s24: return 3;
    case SampleFormat::s32: return 4;
    case SampleFormat::f32: return 4;
    case SampleFormat::f64: return 8;
  }
  return 0;
}

SampleFormat sample_format(std::uint16_t tag, std::uint16_t bits) {
  if (tag == kPcm && bits == 8) return SampleFormat::u8;
  if (tag == kPcm && bits == 16) return SampleFormat::s16;
  if (tag == kPcm && bits == 24) return SampleFormat::s24;
  if (tag == kPcm && bits == 32) return SampleFormat::s32;
  if (tag == kFloat && bits == 32) return SampleFormat::f32;
  if (tag == kFloat && bits == 64) return SampleFormat::f64;
  throw NotPlain("format " + std::to_string(tag) + " of " + std::to_string(bits) + " bits");
}

Wav parse_format(Bytes chunk) {
  if (chunk.size() != 16 && chunk.size() != 18 && chunk.size() != 40) throw NotPlain("fmt chunk of an unknown size");
  auto tag = load<std::uint16_t>(chunk, 0);
  const auto bits = load<std::uint16_t>(chunk, 14);
  if (tag == kExtensible) {
    if (chunk.size() != 40 || load<std::uint16_t>(chunk, 16) != 22) throw NotPlain("extensible fmt chunk of an unknown size");
    if (load<std::uint16_t>(chunk, 18) != bits) throw NotPlain("fewer valid bits than stored ones");
    if (std::memcmp(chunk.data() + 26, kSubtypeTail.data(), kSubtypeTail.size()) != 0) throw NotPlain("unknown subtype");
    tag = load<std::uint16_t>(chunk, 24);
  }
  Wav wav{};
  wav.format = sample_format(tag, bits);
  wav.channels = load<std::uint16_t>(chunk, 2);
  wav.rate = load<std::uint32_t>(chunk, 4);
  if (wav.channels < 1 || wav.channels > kMostChannels) throw NotPlain(std::to_string(wav.channels) + " channels");
  if (wav.rate < 1 || wav.rate > std::numeric_limits<std::int32_t>::max()) throw NotPlain("sample rate out of range");
  if (load<std::uint16_t>(chunk, 12) != wav.channels * sample_bytes(wav.format)) throw NotPlain("block align is not that of the samples");
  return wav;
}

// Entries that fill the list exactly, each small: libsndfile parses them, and looks for the samples behind its last byte. It takes
// entries for chunks that are named so; the names of a list begin with I.
bool is_sound_info_list(Bytes chunk) {
  constexpr std::size_t kLargestEntry = 1024;
  if (chunk.size() < 4 || name_at(chunk, 0) != "INFO") return false;
  std::size_t at = 4;
  while (chunk.size() - at >= kChunkHead) {
    const std::size_t size = load<std::uint32_t>(chunk, at + 4);
    if (name_at(chunk, at)[0] != 'I' || name_at(chunk, at) == "INFO") return false;
    if (size > kLargestEntry || size + size % 2 > chunk.size() - at - kChunkHead) return false;
    at += kChunkHead + size + size % 2;
  }
  return at == chunk.size();
}

// Chunks that change no sample, in the form that libsndfile accepts.
void check_other_chunk(std::string_view name, Bytes chunk, const std::optional<Wav>& wav) {
  if (name == "JUNK" || (name == "fact" && chunk.size() == 4)) return;
  if (name == "LIST" && is_sound_info_list(chunk)) return;
  if (name == "PEAK" && wav && chunk.size() == 8 + 8 * static_cast<std::size_t>(wav->channels)) return;
  throw NotPlain("chunk that is not known");
}

void set_data(Wav& wav, Bytes file, std::size_t at, std::size_t size) {
  const auto frame_bytes = static_cast<std::size_t>(wav.channels * sample_bytes(wav.format));
  if (size == 0 || size == 0xFFFFFFFF) throw NotPlain("its length is left open, or there are no samples");
  if (size > file.size() - at) throw NotPlain("fewer samples than declared");
  if (size % frame_bytes != 0) throw NotPlain("its length is no whole number of samples");
  wav.data = file.subspan(at, size);
  wav.frames = static_cast<std::int64_t>(size / frame_bytes);
}

// x[i] -> float, as libsndfile scales: to [-1, 1), each rounded once.
void to_float(SampleFormat format, const std::byte* from, std::size_t count, float* to) {
  switch (format) {
    case SampleFormat::u8:
      for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<float>(std::to_integer<int>(from[i]) - 128) * 0x1p-7f;
      break;
    case SampleFormat::s16: break;  // never converted
    case SampleFormat::s24:
      for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t high = 0;
        std::memcpy(reinterpret_cast<std::byte*>(&high) + 1, from + 3 * i, 3);
        to[i] = static_cast<float>(static_cast<std::int32_t>(high)) * 0x1p-31f;
      }
      break;
    case SampleFormat::s32:
      for (std::size_t i = 0; i < count; ++i) {
        std::int32_t value;
        std::memcpy(&value, from + 4 * i, 4);
        to[i] = static_cast<float>(value) * 0x1p-31f;
      }
      break;
    case SampleFormat::f32: std::memcpy(to, from, 4 * count); break;
    case SampleFormat::f64:
      for (std::size_t i = 0; i < count; ++i) {
        double value;
        std::memcpy(&value, from + 8 * i, 8);
        to[i] = static_cast<float>(value);
      }
      break;
  }
}

class Descriptor {
 public:
  // Not blocking: a FIFO without a writer would hold the open for ever.
  explicit Descriptor(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) throw NotPlain(std::strerror(errno));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }

  std::size_t regular_size() const {
    struct stat about;
    if (::fstat(fd_, &about) != 0 || !S_ISREG(about.st_mode)) throw NotPlain("no regular file");
    return static_cast<std::size_t>(about.st_size);
  }

  void read(std::span<std::byte> into) const {
    while (!into.empty()) {
      const ssize_t got = ::read(fd_, into.data(), into.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw NotPlain(got < 0 ? std::strerror(errno) : "it became shorter while being read");
      into = into.subspan(static_cast<std::size_t>(got));
    }
  }

 private:
  int fd_;
};

}  // namespace

Wav parse_wav(Bytes file) {
  if (!is_riff_wave(file)) throw NotPlain("no RIFF/WAVE");
  std::optional<Wav> wav;
  std::size_t at = kRiffHead;
  while (file.size() - at >= kChunkHead) {
    const std::string_view name = name_at(file, at);
    const std::size_t size = load<std::uint32_t>(file, at + 4);
    at += kChunkHead;
    if (name == "data") {
      if (!wav || !wav->data.empty()) throw NotPlain(wav ? "two data chunks" : "data before fmt");
      set_data(*wav, file, at, size);
    } else if (size > file.size() - at) {
      throw NotPlain("chunk that reaches past the end");
    } else if (name == "fmt ") {
      if (wav) throw NotPlain("two fmt chunks");
      wav = parse_format(file.subspan(at, size));
    } else {
      check_other_chunk(name, file.subspan(at, size), wav);
    }
    at = std::min(at + size + size % 2, file.size());  // the padding of the last chunk may be missing
  }
  const auto is_padding = [](std::byte left) { return left == std::byte{0}; };
  if (file.size() - at > 1 && !std::all_of(file.begin() + at, file.end(), is_padding)) throw NotPlain("a chunk that was cut");
  if (!wav || wav->data.empty()) throw NotPlain("no samples");
  return *wav;
}

void read_wav_bytes(const std::string& path, Wanted wanted, Fresh<std::byte>& bytes) {
  const Descriptor file(path);
  const std::size_t size = file.regular_size();
  if (size > kLargestRiff) throw NotPlain("larger than a RIFF file can be");
  if (size > wanted.most) throw NotPlain("larger than what is read at once");
  if (wanted.part && size > kLargeFile) throw NotPlain("part of a large file");
  const std::size_t head = size > kSmallFile ? kHead : size;
  bytes.resize(std::max(bytes.size(), head));  // memory that the last file has left is not cleared
  const auto begin = std::span(bytes).first(head);
  file.read(begin);
  if (!is_riff_wave(begin)) throw NotPlain("no RIFF/WAVE");
  const bool begins_with_format = head >= kRiffHead + kChunkHead + 16 && name_at(begin, kRiffHead) == "fmt ";
  if (wanted.rate && begins_with_format && load<std::uint32_t>(begin, kRiffHead + kChunkHead + 4) != wanted.rate) {
    throw NotPlain("another sample rate");
  }
  bytes.resize(size);
  file.read(std::span(bytes).subspan(head));
}

Segment find_segment(const Wav& wav, double start_s, double end_s) {
  const auto rate = static_cast<double>(wav.rate), frames = static_cast<double>(wav.frames);
  const double start = std::isnan(start_s) ? 0.0 : std::nearbyint(start_s * rate);
  const double stop = std::isnan(end_s) ? frames : std::min(frames, std::nearbyint(end_s * rate));
  if (!(start >= 0.0 && start < stop)) throw NotPlain("no samples in the segment");
  if (end_s > frames / rate + kOverhang) throw NotPlain("the segment ends behind the file");
  return {static_cast<std::int64_t>(start), static_cast<std::int64_t>(stop)};
}

Interleaved interleaved(const Wav& wav, Segment segment, Fresh<float>& converted) {
  const std::byte* from = wav.data.data() + segment.start * wav.channels * sample_bytes(wav.format);
  const auto count = static_cast<std::size_t>((segment.stop - segment.start) * wav.channels);
  if (wav.format == SampleFormat::s16) {  // aligned: chunks begin at even places
    return std::span(reinterpret_cast<const std::int16_t*>(from), count);
  }
  converted.resize(count);
  to_float(wav.format, from, count, converted.data());
  const bool sound = std::all_of(converted.begin(), converted.end(), [](float x) { return std::abs(x) <= kLoudest; });  // no NaN is
  if (!sound) throw NotPlain("NaN, infinity or a number that no sound has among the samples");
  return std::span<const float>(converted);
}

Level measure_level(const Wav&, std::span<const std::int16_t> samples) { return measure_level(samples); }

Level measure_level(const Wav& wav, std::span<const float> samples) {
  constexpr float kLargestU8 = 127.0f / 128.0f;
  return measure_level(samples, wav.format == SampleFormat::u8 ? kLargestU8 : kClippedFrom);
}

}  // namespace clinaug
