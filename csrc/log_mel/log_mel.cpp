#include "log_mel/log_mel.hpp"

#include <cmath>
#include <numbers>
#include <type_traits>

#include "common/parallel.hpp"

namespace clinaug {
namespace {

// A thread costs some tens of microseconds; it pays from about this many samples transformed.
constexpr std::int64_t kSamplesWorthAThread = 1 << 16;

template <class In>
double to_unit(In sample) {
  if constexpr (std::is_same_v<In, std::int16_t>) {
    return sample * (1.0 / 32768.0);
  } else {
    return sample;
  }
}

bool is_even(std::int64_t n) { return n % 2 == 0; }

}  // namespace

struct LogMelPlan::Workspace {
  explicit Workspace(const LogMelPlan& plan)
      : frame(plan.params_.n_fft), packed(plan.params_.n_fft), scratch(plan.fft_.scratch_size()), power(plan.params_.n_bins()) {}

  std::vector<double> frame;
  std::vector<Complex> packed;
  std::vector<Complex> scratch;
  std::vector<double> power;
};

LogMelPlan::LogMelPlan(const LogMelParams& params, InstructionSet instruction_set)
    : params_(params),
      window_(make_window(params)),
      bands_(make_mel_bands(params)),
      fft_(is_even(params.n_fft) ? params.n_fft / 2 : params.n_fft),
      log_scale_(log_scale(params)),
      lanes_(params, lanes::kernel_of(instruction_set)) {
  if (!is_even(params.n_fft)) return;
  for (std::int64_t k = 0; k <= params.n_fft / 4; ++k) {
    const double angle = -2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(params.n_fft);
    half_roots_.push_back({std::cos(angle), std::sin(angle)});
  }
}

// Only the samples under the window are read: what lies outside cannot turn a frame into NaN.
template <class In>
void LogMelPlan::load_frame(const In* x, std::int64_t n_samples, std::int64_t stride, std::int64_t frame, Workspace& work) const {
  const std::int64_t offset = window_start(params_);
  const std::int64_t first = frame * params_.hop_length - params_.padding() + offset;
  double* to = work.frame.data() + offset;
  if (first >= 0 && first + params_.win_length <= n_samples) {
    for (std::int64_t i = 0; i < params_.win_length; ++i) to[i] = to_unit(x[(first + i) * stride]) * window_[i];
  } else {
    for (std::int64_t i = 0; i < params_.win_length; ++i) {
      const std::int64_t from = padded_index(first + i, n_samples, params_.pad_mode);
      to[i] = from < 0 ? 0.0 : to_unit(x[from * stride]) * window_[i];
    }
  }
}

// |X|^power of the real frame. An even frame is transformed as n_fft / 2 complex numbers (even samples + i odd samples)
// and its two interleaved spectra are taken apart afterwards.
void LogMelPlan::spectrum(Workspace& work) const {
  const std::int64_t n = params_.n_fft;
  const auto store = [&](std::int64_t bin, Complex value) {
    const double squared = value.re * value.re + value.im * value.im;
    work.power[bin] = params_.power == 2 ? squared : std::sqrt(squared);
  };
  Complex* z = work.packed.data();
  if (!is_even(n)) {
    for (std::int64_t t = 0; t < n; ++t) z[t] = {work.frame[t], 0.0};
    fft_.run(z, work.scratch.data());
    for (std::int64_t bin = 0; bin < params_.n_bins(); ++bin) store(bin, z[bin]);
    return;
  }
  const std::int64_t half = n / 2;
  for (std::int64_t t = 0; t < half; ++t) z[t] = {work.frame[2 * t], work.frame[2 * t + 1]};
  fft_.run(z, work.scratch.data());
  store(0, {z[0].re + z[0].im, 0.0});
  store(half, {z[0].re - z[0].im, 0.0});
  for (std::int64_t k = 1; k <= half / 2; ++k) {
    const Complex a = z[k], b = z[half - k];
    const Complex even{0.5 * (a.re + b.re), 0.5 * (a.im - b.im)};
    const Complex odd{0.5 * (a.im + b.im), -0.5 * (a.re - b.re)};
    const Complex turned = half_roots_[k] * odd;
    store(k, even + turned);
    store(half - k, even - turned);
  }
}

double LogMelPlan::log_of_band(const MelBand& band, const Workspace& work) const {
  double sum = 0.0;
  for (std::size_t i = 0; i < band.weights.size(); ++i) sum += band.weights[i] * work.power[band.start + i];
  return log_scale_ * std::log(sum < params_.floor ? params_.floor : sum);  // a NaN is not below the floor: it stays
}

template <class In, class Out>
void LogMelPlan::run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  if constexpr (std::is_same_v<In, double> || std::is_same_v<Out, double>) {
    run_plain(x, out, threads);
  } else {
    lanes_.run(x, out, threads);
  }
}

template <class In, class Out>
void LogMelPlan::run_plain(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  const std::int64_t n_frames = out.extent[2];
  const std::int64_t grain = kSamplesWorthAThread / params_.n_fft + 1;
  parallel_for(out.extent[0] * n_frames, threads, grain, [&](std::int64_t begin, std::int64_t end) {
    Workspace work(*this);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t b = item / n_frames, f = item % n_frames;
      load_frame(x.data + b * x.stride[0], x.extent[1], x.stride[1], f, work);
      spectrum(work);
      Out* to = out.data + b * out.stride[0] + f * out.stride[2];
      for (std::int64_t m = 0; m < params_.n_mels; ++m) to[m * out.stride[1]] = static_cast<Out>(log_of_band(bands_[m], work));
    }
  });
}

template void LogMelPlan::run(View<const float, 2>, View<float, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const float, 2>, View<Half, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const float, 2>, View<double, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const double, 2>, View<float, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const double, 2>, View<double, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<float, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<Half, 3>, std::int64_t) const;
template void LogMelPlan::run(View<const std::int16_t, 2>, View<double, 3>, std::int64_t) const;

}  // namespace clinaug
