#include "log_mel/lanes/lanes_plan.hpp"

#include <algorithm>
#include <cmath>

#include "log_mel/lanes/chirp_plan.hpp"

namespace clinaug::lanes {
namespace {

constexpr Index kSmallestTile = 32;
constexpr Index kCacheBytes = 400 << 10;  // what the working memory of a thread should stay below

// The noise of rounding, beside a band's amplitude, from which on a frame is computed again in double precision. Measured
// on tones, squares, speech and real clips at sizes from 16 to 16384, the frames left are within 1.3e-4 dB, about three
// times this in the natural log of a power; on real clips torch's single precision is then never closer.
constexpr double kToleratedNoise = 1e-5;
constexpr double kRounding = 0x1p-24;     // of a single precision number, relative
constexpr double kChirpNoise = 2.0;       // three transforms in a row, of a longer size

Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

}  // namespace

template <class Real>
LanesPlan<Real>::LanesPlan(const LogMelParams& params, const Kernel<Real>& kernel)
    : params_(params),
      kernel_(kernel),
      smooth_(std::isfinite(transform_cost(params.n_fft))),
      transform_(smooth_ ? params.n_fft : chirp_length(params.n_fft)) {
  make_weights();
  make_mel();
  make_layout(params.n_fft, separate_);
  if (params.hop_length < params.n_fft) make_layout(params.hop_length, overlapped_);
}

template <class Real>
void LanesPlan<Real>::make_weights() {
  const std::vector<double> window = make_window(params_);
  const Index size = transform_.tables().size;
  weights_.resize(size);
  if (!smooth_) sine_weights_.resize(size);
  for (Index place = 0; place < size; ++place) {
    const Index t = transform_.order()[place], i = t - window_start(params_);
    if (i < 0 || i >= params_.win_length) continue;
    const ChirpValue chirp = smooth_ ? ChirpValue{1.0, 0.0} : chirp_value(t, params_.n_fft);
    weights_[place] = static_cast<Real>(window[i] * chirp.re);
    if (!smooth_) sine_weights_[place] = static_cast<Real>(window[i] * chirp.im);
  }
  if (smooth_) return;
  ones_.assign(size, Real{1});
  const std::vector<double> spectrum = chirp_spectrum(params_.n_fft, size);
  chirp_spectrum_.assign(spectrum.begin(), spectrum.end());
  for (const Index t : transform_.order()) natural_offsets_.push_back(static_cast<int>(t * kernel_.lanes));
}

template <class Real>
void LanesPlan<Real>::make_mel() {
  const std::vector<double> edges = mel_edges_hz(params_);
  const std::vector<MelBand> bands = make_mel_bands(params_);
  const auto slope = [&](Index band, Index bin) {
    if (band < 0 || band >= params_.n_mels) return Real{0};
    const Index i = bin - bands[band].start;
    const bool inside = i >= 0 && i < static_cast<Index>(bands[band].weights.size());
    return inside ? static_cast<Real>(bands[band].weights[i]) : Real{0};
  };
  const double hz_per_bin = static_cast<double>(params_.sample_rate) / static_cast<double>(params_.n_fft);
  Index bin = 0;
  const auto skip_to = [&](double hz) {
    while (bin < params_.n_bins() && static_cast<double>(bin) * hz_per_bin < hz) ++bin;
    return static_cast<int>(bin);
  };
  mel_starts_.push_back(skip_to(edges[0]));
  for (Index segment = 0; segment <= params_.n_mels; ++segment) {
    const int end = skip_to(edges[segment + 1]);
    for (Index k = mel_starts_.back(); k < end; ++k) {
      mel_slopes_.push_back(slope(segment - 1, k));
      mel_slopes_.push_back(slope(segment, k));
    }
    mel_starts_.push_back(end);
  }
  const double scale = log_scale(params_);
  mel_ = {static_cast<int>(params_.n_mels), mel_starts_.data(), mel_slopes_.data(), static_cast<Real>(params_.floor),
          static_cast<Real>(scale * std::log(params_.floor)), static_cast<Real>(scale)};
  make_doubt(edges, bands);
}

template <class Real>
void LanesPlan<Real>::make_doubt(const std::vector<double>& edges, const std::vector<MelBand>& bands) {
  const bool magnitude = params_.power == 1;
  double widest = 0.0;
  for (Index m = 0; m < params_.n_mels; ++m) {
    double width = 0.0;
    for (const double weight : bands[m].weights) width += weight;
    widest = std::max(widest, width);
    const double height = params_.norm == FilterNorm::slaney ? 2.0 / (edges[m + 2] - edges[m]) : 1.0;
    shares_.push_back(magnitude ? Real{0} : static_cast<Real>(1.0 / height));
    inverse_widths_.push_back(width > 0.0 ? static_cast<Real>(1.0 / width) : Real{0});
  }
  const double noise = kRounding / kToleratedNoise * (smooth_ ? 1.0 : kChirpNoise);
  // The noise comes near the floor where its own amplitude is a quarter of the floor's.
  const double quiet_amplitude = 0.25 / kToleratedNoise;
  doubt_.shares = shares_.data();
  doubt_.inverse_widths = inverse_widths_.data();
  // A sum of magnitudes is no power: these are squared and added bin by bin.
  doubt_.inner_begin = magnitude ? params_.n_bins() : mel_starts_[1];
  doubt_.inner_end = magnitude ? params_.n_bins() : mel_starts_[params_.n_mels];
  doubt_.noise = static_cast<Real>(noise * noise / static_cast<double>(params_.n_bins()));
  doubt_.quiet = static_cast<Real>(params_.floor / std::max(widest, 1e-30) * (magnitude ? quiet_amplitude : quiet_amplitude * quiet_amplitude));
}

template <class Real>
void LanesPlan<Real>::make_layout(Index rows, Layout<Real>& layout) const {
  layout.carry = (params_.n_fft - 1) / rows;
  Tables<Real>& tables = layout.tables;
  tables.n_bins = params_.n_bins();
  tables.magnitude = params_.power == 1;
  tables.transform = transform_.tables();
  tables.mel = mel_;
  tables.doubt = doubt_;
  const Index size = tables.transform.size;
  tables.n_blocks = smooth_ && tables.transform.n_passes > 0 ? tables.transform.passes[tables.transform.n_passes - 1].radix : 1;
  // One vector more than the block holds: blocks a power of two apart would fight for the same cache sets.
  tables.block_stride = size / tables.n_blocks + 1;
  tables.work_size = smooth_ ? tables.n_blocks * tables.block_stride : 4 * size;

  tables.rows = rows;
  tables.lead = round_up(layout.carry, kernel_.lanes);
  tables.tile = kLargestTile;
  const auto bytes = [&] {
    const Index numbers = rows * tables.row_stride() + (tables.n_bins * kTogether + tables.work_size) * kernel_.lanes;
    return static_cast<Index>(sizeof(Real)) * numbers;
  };
  while (tables.tile > kSmallestTile && bytes() > kCacheBytes) tables.tile /= 2;

  // Samples outside the window are never read, so that what is not a number there does no harm: zeros stand for them.
  layout.offsets.resize(size);
  for (Index place = 0; place < size; ++place) {
    const Index t = transform_.order()[place], i = t - window_start(params_);
    const bool inside = i >= 0 && i < params_.win_length;
    const Index row = inside ? t % rows : rows, column = inside ? t / rows + tables.lead - layout.carry : 0;
    layout.offsets[place] = static_cast<int>(row * tables.row_stride() + column);
  }
  tables.source = {layout.offsets.data(), weights_.data()};
  if (smooth_) return;
  layout.chirp = {tables.source, {layout.offsets.data(), sine_weights_.data()}, {natural_offsets_.data(), ones_.data()},
                  chirp_spectrum_.data()};
  tables.chirp = &layout.chirp;
}

template <class Real>
const Layout<Real>& LanesPlan<Real>::layout(Index clips, Index frames) const {
  // Between short clips the carried columns would waste more lanes than sharing samples saves.
  const bool separate = params_.hop_length >= params_.n_fft || (clips > 1 && 4 * overlapped_.carry > frames);
  return separate ? separate_ : overlapped_;
}

template class LanesPlan<float>;
template class LanesPlan<double>;

}  // namespace clinaug::lanes
