#include "log_mel/lanes/lanes_plan.hpp"

#include <algorithm>
#include <cmath>

#include "log_mel/lanes/chirp_plan.hpp"

namespace clinaug::lanes {
namespace {

constexpr Index kSmallestTile = 32;
constexpr Index kCacheBytes = 400 << 10;  // what the working memory of a thread should stay below
constexpr Index kSpectraBytes = 300 << 10;  // and what its spectra should

// The noise of rounding, beside a band's amplitude, from which on a frame is computed again in double precision. Measured
// on tones, squares, speech and real clips at sizes from 16 to 16384, the frames left are within 1.3e-4 dB, about three
// times this in the natural log of a power; on real clips torch's single precision is then never closer.
constexpr double kToleratedNoise = 1e-5;
constexpr double kRounding = 0x1p-24;     // of a single precision number, relative
constexpr double kChirpNoise = 2.0;       // three transforms in a row, of a longer size

// How far apart `n` blocks of `length` vectors lie. Not a power of two, as they would fight for the same cache sets; nor so that
// what the last pass stores in one block lies whole pages from what it loads next from another, as the processor then takes
// the one for the other. Alike for all sets, as it decides in which order bins are added: a page is a multiple of kPage.
Index apart(Index length, Index n) {
  constexpr Index kPage = kPageBytes / kLineBytes;
  for (Index stride = length + 1;; ++stride) {
    bool clash = false;
    for (Index blocks = 1; blocks < n; ++blocks) clash |= blocks * stride % kPage == 1 || blocks * stride % kPage == kPage - 1;
    if (!clash) return stride;
  }
}

}  // namespace

template <class Real>
LanesPlan<Real>::LanesPlan(const LogMelParams& params, const Kernel<Real>& kernel)
    : params_(params),
      kernel_(kernel),
      smooth_(std::isfinite(transform_cost(params.n_fft))),
      transform_(smooth_ ? params.n_fft : chirp_length(params.n_fft), smooth_ ? Result::power : Result::spectrum) {
  const Transform<Real>& transform = transform_.tables();
  n_blocks_ = smooth_ && transform.n_passes > 0 ? transform.passes[transform.n_passes - 1].radix : 1;
  block_length_ = smooth_ ? transform.size / n_blocks_ : 4 * transform.size;
  block_stride_ = apart(block_length_, n_blocks_);
  targets_ = transform_.targets(block_stride_);
  make_weights();
  make_mel();
  make_layout(params.n_fft, kLargestTile, separate_);
  make_layout(params.n_fft, kGlanced, scattered_);
  if (params.hop_length < params.n_fft) make_layout(params.hop_length, kLargestTile, overlapped_);
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
  const MelWalk walk = make_mel_walk(params_);
  for (const int bin : walk.starts) mel_starts_.push_back(static_cast<int>(slot(bin)));
  mel_slopes_.resize(2 * (mel_starts_.back() - mel_starts_.front()));
  for (int bin = walk.starts.front(); bin < walk.starts.back(); ++bin) {
    std::copy_n(&walk.slopes[2 * (bin - walk.starts.front())], 2, &mel_slopes_[2 * (slot(bin) - mel_starts_.front())]);
  }
  const double scale = log_scale(params_);
  mel_ = {static_cast<int>(params_.n_mels), mel_starts_.data(), mel_slopes_.data(), static_cast<Real>(params_.floor),
          static_cast<Real>(scale * std::log(params_.floor)), static_cast<Real>(scale)};
  make_doubt(mel_edges_hz(params_), make_mel_bands(params_));
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
  const Index n_slots = slot(params_.n_bins() - 1) + 1;
  doubt_.inner_begin = magnitude ? n_slots : mel_starts_[1];
  doubt_.inner_end = magnitude ? n_slots : mel_starts_[params_.n_mels];
  doubt_.noise = static_cast<Real>(noise * noise / static_cast<double>(params_.n_bins()));
  doubt_.quiet = static_cast<Real>(params_.floor / std::max(widest, 1e-30) * (magnitude ? quiet_amplitude : quiet_amplitude * quiet_amplitude));
}

template <class Real>
void LanesPlan<Real>::make_layout(Index rows, Index largest_tile, Layout<Real>& layout) const {
  layout.carry = (params_.n_fft - 1) / rows;
  Tables<Real>& tables = layout.tables;
  tables.n_slots = slot(params_.n_bins() - 1) + 1;
  tables.magnitude = params_.power == 1;
  tables.transform = transform_.tables();
  tables.targets = targets_.empty() ? nullptr : targets_.data();
  tables.mel = mel_;
  tables.doubt = doubt_;
  const Index size = tables.transform.size;
  tables.n_blocks = n_blocks_;
  tables.block_length = block_length_;
  tables.block_stride = block_stride_;
  tables.spectrum_size = n_blocks_ * block_stride_;
  const Index spectrum_bytes = tables.spectrum_size * kernel_.lanes * static_cast<Index>(sizeof(Real));
  tables.together = 2 * spectrum_bytes <= kSpectraBytes ? 2 : 1;

  tables.rows = rows;
  tables.lanes = kernel_.lanes;
  tables.lead = round_up(layout.carry, kernel_.lanes);
  tables.tile = largest_tile;
  const auto bytes = [&] {
    const Index numbers = tables.row(rows) + tables.together * tables.spectrum_size * kernel_.lanes;
    return static_cast<Index>(sizeof(Real)) * numbers;
  };
  while (tables.tile > kSmallestTile && bytes() > kCacheBytes) tables.tile /= 2;
  const Index leaf_distance = size / tables.transform.leaf * tables.row_stride() * static_cast<Index>(sizeof(Real));
  if (leaf_distance % kPageBytes == 0) tables.row_gap = kLineBytes / static_cast<Index>(sizeof(Real));

  // Samples outside the window are never read, so that what is not a number there does no harm: zeros stand for them.
  layout.offsets.resize(size);
  for (Index place = 0; place < size; ++place) {
    const Index t = transform_.order()[place], i = t - window_start(params_);
    const bool inside = i >= 0 && i < params_.win_length;
    const Index row = inside ? t % rows : rows, column = inside ? t / rows + tables.lead - layout.carry : 0;
    layout.offsets[place] = static_cast<int>(tables.row(row) + column);
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
