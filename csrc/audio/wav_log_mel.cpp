#include "audio/wav_log_mel.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <span>
#include <tuple>
#include <variant>

#include "audio/wav.hpp"

namespace clinaug {
namespace {

constexpr std::size_t kMostReserved = 4 << 20;  // values, where the other files or windows are as long as the first

// Memory that one file leaves to the next.
struct Scratch {
  Fresh<std::byte> bytes;
  Fresh<float> converted, mono;
  Fresh<std::int16_t> short_int16;
  Fresh<float> short_float;
  std::vector<double> energy;

  Fresh<std::int16_t>& short_window(std::int16_t) { return short_int16; }
  Fresh<float>& short_window(float) { return short_float; }
};

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A waveform of at least one window: zeros behind, or repeated.
template <class T>
std::span<const T> at_least_a_window(std::span<const T> samples, const ClipCut& cut, Scratch& scratch) {
  const auto length = static_cast<std::size_t>(cut.length);
  if (samples.size() >= length) return samples;
  Fresh<T>& window = scratch.short_window(T{});
  window.assign(length, T{});
  for (std::size_t i = 0; i < (cut.tile ? length : samples.size()); ++i) window[i] = samples[i % samples.size()];
  return window;
}

template <class T>
View<const T, 2> windows_of(std::span<const T> samples, const ClipCut& cut) {
  const std::int64_t n = 1 + (static_cast<std::int64_t>(samples.size()) - cut.length) / cut.stride;
  return {samples.data(), {n, cut.length}, {cut.stride, 1}};
}

template <class T>
std::vector<std::int64_t> loud_windows(View<const T, 2> windows, double quiet_ratio, std::vector<double>& energy) {
  if (windows.extent[0] == 1) return {0};
  energy.resize(windows.extent[0]);
  window_energy(windows, energy.data());
  const double limit = *std::max_element(energy.begin(), energy.end()) * quiet_ratio;
  std::vector<std::int64_t> loud;
  for (std::int64_t i = 0; i < windows.extent[0]; ++i) {
    if (energy[i] >= limit) loud.push_back(i);
  }
  return loud;
}

// Windows on their way to log-mels, in order. Many are sooner transformed together than one by one: the windows of short
// recordings are gathered, those of a long one stay where they lie and overlap.
class Windows {
 public:
  Windows(const LogMelPlan& plan, Fresh<float>& mels, std::int64_t& mel_ns) : plan_(plan), mels_(mels), mel_ns_(mel_ns) {}

  template <class T>
  void append(View<const T, 2> windows, const std::vector<std::int64_t>& numbers) {
    Pending<T>& mine = std::get<Pending<T>>(pending_);
    if (mine.n == 0) flush();  // what is left is of another type
    for (std::size_t i = 0; i < numbers.size();) {
      std::int64_t run = 1;
      while (i + run < numbers.size() && numbers[i + run] == numbers[i] + run) ++run;
      const View<const T, 2> neighbours{windows.data + numbers[i] * windows.stride[0], {run, windows.extent[1]}, windows.stride};
      run < kTogether ? gather(neighbours, mine) : transform_after_flush(neighbours);
      i += run;
    }
  }

  void flush() {
    std::apply([&](auto&... pending) { (empty(pending), ...); }, pending_);
  }

 private:
  static constexpr std::int64_t kTogether = 16;  // which fill vectors and stay in the second-level cache

  template <class T>
  struct Pending {
    Fresh<T> samples;  // window after window
    std::int64_t n = 0;
  };

  template <class T>
  void gather(View<const T, 2> windows, Pending<T>& pending) {
    pending.samples.reserve(std::min<std::size_t>(kTogether * windows.extent[1], kMostReserved));
    for (std::int64_t i = 0; i < windows.extent[0]; ++i) {
      const T* window = windows.data + i * windows.stride[0];
      const std::size_t before = pending.samples.size();
      pending.samples.resize(before + windows.extent[1]);
      std::copy_n(window, windows.extent[1], pending.samples.data() + before);
      if (++pending.n == kTogether) flush();
    }
  }

  template <class T>
  void transform_after_flush(View<const T, 2> windows) {
    flush();
    transform(windows);
  }

  template <class T>
  void empty(Pending<T>& pending) {
    if (pending.n == 0) return;
    const std::int64_t length = static_cast<std::int64_t>(pending.samples.size()) / pending.n;
    transform(View<const T, 2>{pending.samples.data(), {pending.n, length}, {length, 1}});
    pending.samples.clear();
    pending.n = 0;
  }

  template <class T>
  void transform(View<const T, 2> windows) {
    const std::int64_t began = now_ns(), n = windows.extent[0];
    const std::int64_t n_mels = plan_.params().n_mels, n_frames = plan_.params().n_frames(windows.extent[1]), size = n_mels * n_frames;
    const std::size_t first = mels_.size();
    mels_.resize(first + n * size);
    plan_.run(windows, View<float, 3>{mels_.data() + first, {n, n_mels, n_frames}, {size, n_frames, 1}}, 1);
    mel_ns_ += now_ns() - began;
  }

  const LogMelPlan& plan_;
  Fresh<float>& mels_;
  std::int64_t& mel_ns_;
  std::tuple<Pending<std::int16_t>, Pending<float>> pending_;
};

WavClips clips_of(const LogMelPlan& plan, const ClipCut& cut, const WavRequest& request, Scratch& scratch, Windows& to, WavBatch& batch) {
  const std::int64_t began = now_ns();
  const bool part = !std::isnan(request.start_s) || !std::isnan(request.end_s);
  read_wav_bytes(request.path, {part, plan.params().sample_rate, kLargeFile}, scratch.bytes);
  const Wav wav = parse_wav(scratch.bytes);
  if (wav.rate != plan.params().sample_rate) throw NotPlain("another sample rate");
  const Segment segment = find_segment(wav, request.start_s, request.end_s);

  WavClips clips;
  clips.rate = wav.rate;
  clips.channels = wav.channels;
  clips.n_samples = segment.stop - segment.start;
  const auto length = static_cast<double>(clips.n_samples), rate = static_cast<double>(wav.rate);
  if (length < cut.min_seconds * rate) throw NotPlain("too short");
  if (length - 0.5 > cut.max_seconds * rate) throw NotPlain("too long");

  const auto finish = [&](auto mono) {
    const auto windows = windows_of(at_least_a_window(mono, cut, scratch), cut);
    clips.n_windows = windows.extent[0];
    const std::vector<std::int64_t> numbers = loud_windows(windows, cut.quiet_ratio, scratch.energy);
    clips.n_clips = static_cast<std::int64_t>(numbers.size());
    batch.numbers.insert(batch.numbers.end(), numbers.begin(), numbers.end());
    batch.read_ns += now_ns() - began;
    to.append(windows, numbers);
  };
  std::visit(
      [&](auto samples) {
        const Level level = measure_level(wav, samples);
        clips.peak = level.peak;
        clips.clipped = level.clipped;
        clips.square_sum = level.square_sum;
        clips.silent = level.silent;
        if (wav.channels == 1) {
          clips.mono_power = level.n > 0 ? level.square_sum / static_cast<double>(level.n) : 0.0;
          return finish(samples);
        }
        mix_to_mono(samples, wav.channels, scratch.mono);
        const std::span<const float> mono(scratch.mono);
        if (!mono.empty()) window_energy(View<const float, 2>{mono.data(), {1, clips.n_samples}, {clips.n_samples, 1}}, &clips.mono_power);
        finish(mono);
      },
      interleaved(wav, segment, scratch.converted));
  return clips;
}

}  // namespace

WavBatch wav_log_mel(const LogMelPlan& plan, const ClipCut& cut, const std::vector<WavRequest>& requests) {
  WavBatch batch;
  batch.files.reserve(requests.size());
  Scratch scratch;
  Windows windows(plan, batch.mels, batch.mel_ns);
  const std::size_t clip_size = plan.params().n_mels * plan.params().n_frames(cut.length);
  for (const WavRequest& request : requests) {
    try {
      batch.files.push_back(clips_of(plan, cut, request, scratch, windows, batch));
      if (batch.files.size() == 1) batch.mels.reserve(std::min(batch.files[0].n_clips * clip_size * requests.size(), kMostReserved));
    } catch (const NotPlain& reason) {
      batch.not_taken.emplace_back(static_cast<std::int64_t>(batch.files.size()), reason.what());
      batch.files.emplace_back();
    }
  }
  windows.flush();
  return batch;
}

}  // namespace clinaug
