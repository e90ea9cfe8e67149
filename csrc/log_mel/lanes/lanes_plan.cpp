#include "log_mel/lanes/lanes_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/cache.hpp"
#include "log_mel/lanes/chirp_plan.hpp"

namespace clinaug::lanes {
namespace {

constexpr Index kSmallTile = 32, kSmallestTile = 16;
constexpr Index kCacheBytes = 400 << 10;  // what the working memory of a thread should stay below, by a small tile if need be,
constexpr Index kLargeBytes = 500 << 10;  // and by the smallest, whose carried columns cost more than a miss here and there
constexpr Index kSpectraBytes = 300 << 10;  // and what its spectra should
constexpr Index kHalfLine = 32;  // bytes of the vectors with which it pays to work in the first-level cache alone,
constexpr Index kSmallFirstLevel = 32 << 10;  // where that is larger

// The noise of rounding, beside a band's amplitude, from which on a frame is computed again in double precision. It is of
// random sign from bin to bin, so that it comes out of a sum of B bins sqrt(B) times smaller: bands of fewer bins than
// kManyBins have to lie higher above it. On real clips, of contracts with bands of one bin too, what is left is within 1.6e-4
// dB of double precision, and torch's single precision never closer; bench/RESULTS.md tells of the worst signals.
constexpr double kToleratedNoise = 1e-5;
constexpr double kManyBins = 16.0;
// A single band may lie lower by so much, where others of the contract have kSomeBins: of white noise a band of one bin does in
// every thousandth frame, and to compute that alone again would cost a clip of a second a quarter of its time.
constexpr double kRelief = 4.0, kSomeBins = 4.0;
constexpr double kRounding = 0x1p-24;     // of a single precision number, relative
constexpr double kChirpNoise = 2.0;       // three transforms in a row, of a longer size
constexpr double kSmallestWidth = 1e-30;  // of a band, the empty ones'

// How many bins as heavy as its heaviest would make the band.
double bins_of(const MelBand& band) {
  double sum = 0.0, largest = kSmallestWidth;
  for (const double weight : band.weights) {
    sum += weight;
    largest = std::max(largest, weight);
  }
  return sum / largest;
}

// By how much the rounding noise of a band averages out, in power, beside one of kManyBins.
double calm_of(double bins) { return std::clamp(bins, 1.0, kManyBins) / kManyBins; }

// See Source.
bool lies_in_quarters(const std::vector<int>& offsets, Index leaf) {
  if (leaf % 4 != 0) return false;
  const Index n = static_cast<Index>(offsets.size()), quarter = leaf / 4;
  for (Index i = 0; i + quarter < n; ++i) {
    if (i % leaf < leaf - quarter && offsets[i + quarter] != offsets[i] + 1) return false;
  }
  return true;
}

}  // namespace

template <class Real>
LanesPlan<Real>::LanesPlan(const LogMelParams& params, const Kernel<Real>& kernel, const Kernel<Real>* half, double emphasis)
    : params_(params),
      kernel_(kernel),
      half_kernel_(half),
      emphasis_(emphasis),
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
  make_layout(params.n_fft, kScattered, scattered_);
  if (params.hop_length < params.n_fft) make_layout(params.hop_length, kLargestTile, overlapped_);
}

template <class Real>
double LanesPlan<Real>::power_gain(double emphasis, Index bin) const {
  const double turn = 2.0 * std::numbers::pi * static_cast<double>(bin) / static_cast<double>(params_.n_fft);
  return 1.0 - 2.0 * emphasis * std::cos(turn) + emphasis * emphasis;
}

template <class Real>
void LanesPlan<Real>::make_weights() {
  const std::vector<double> values = make_window(params_);
  const auto window = [&](Index t) { return in_window(t) ? values[t - window_start(params_)] : 0.0; };
  const Index size = transform_.tables().size;
  weights_.resize(size);
  carried_.resize(size);
  sine_weights_.resize(smooth_ ? 0 : size);
  sine_carried_.resize(smooth_ ? 0 : size);
  for (Index place = 0; place < size; ++place) {
    const Index t = transform_.order()[place];
    if (t >= params_.n_fft) continue;
    const double weight = window(t), carried = weight - emphasis_ * window(before(t));
    const ChirpValue chirp = smooth_ ? ChirpValue{1.0, 0.0} : chirp_value(t, params_.n_fft);
    weights_[place] = static_cast<Real>(weight * chirp.re);
    carried_[place] = static_cast<Real>(carried * chirp.re);
    if (smooth_) continue;
    sine_weights_[place] = static_cast<Real>(weight * chirp.im);
    sine_carried_[place] = static_cast<Real>(carried * chirp.im);
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
    for (int side = 0; side < 2; ++side) {
      const double slope = walk.slopes[2 * (bin - walk.starts.front()) + side] / gain(emphasis_, bin);
      mel_slopes_[2 * (slot(bin) - mel_starts_.front()) + side] = static_cast<Real>(slope);
    }
  }
  const double scale = log_scale(params_);
  mel_ = {static_cast<int>(params_.n_mels), mel_starts_.data(), mel_slopes_.data(), static_cast<Real>(params_.floor),
          static_cast<Real>(scale * std::log(params_.floor)), static_cast<Real>(scale)};
  gains_.resize(slot(params_.n_bins() - 1) + 1);
  for (Index bin = 0; bin < params_.n_bins(); ++bin) {
    gains_[slot(bin)] = static_cast<Real>(emphasis_ == 0.0 ? power_gain(kEmphasis, bin) : 1.0);
  }
  doubt_ = make_doubt(emphasis_, shares_, inverse_widths_);
  emphasised_ = make_doubt(kEmphasis, emphasised_shares_, emphasised_inverse_widths_);
  make_reliefs();
}

// With pre-emphasis, what a band adds to the power of the frame is not known; it is at most what its loudest bin would.
template <class Real>
Doubt<Real> LanesPlan<Real>::make_doubt(double emphasis, std::vector<Real>& shares, std::vector<Real>& inverse_widths) const {
  const bool magnitude = params_.power == 1;
  const std::vector<double> edges = mel_edges_hz(params_);
  for (const MelBand& band : make_mel_bands(params_)) {
    const Index m = static_cast<Index>(shares.size()), n = static_cast<Index>(band.weights.size());
    double width = 0.0, loudest = 0.0;
    for (Index i = 0; i < n; ++i) {
      width += band.weights[i] / gain(emphasis, band.start + i);
      loudest = std::max(loudest, power_gain(emphasis, band.start + i));
    }
    const double height = params_.norm == FilterNorm::slaney ? 2.0 / (edges[m + 2] - edges[m]) : 1.0;
    shares.push_back(magnitude ? Real{0} : static_cast<Real>(loudest / height));
    const double calm = calm_of(bins_of(band));
    inverse_widths.push_back(static_cast<Real>((magnitude ? std::sqrt(calm) : calm) / std::max(width, kSmallestWidth)));
  }
  // The noise comes near the floor where its own amplitude is a quarter of the floor's.
  const double quiet_amplitude = 0.25 / kToleratedNoise;
  const double quiet = params_.floor * (magnitude ? quiet_amplitude : quiet_amplitude * quiet_amplitude);
  return {shares.data(), inverse_widths.data(), static_cast<Real>(quiet)};
}

template <class Real>
void LanesPlan<Real>::make_reliefs() {
  double most_bins = 0.0;
  for (const MelBand& band : make_mel_bands(params_)) {
    most_bins = std::max(most_bins, bins_of(band));
    reliefs_.push_back(static_cast<Real>(std::min(1.0 / calm_of(bins_of(band)), kRelief)));
  }
  if (most_bins < kSomeBins) std::fill(reliefs_.begin(), reliefs_.end(), Real{1});
}

// How many frames a tile has, and of how many groups of them the spectra become log-mel at once. AVX2 takes 5 to 15 % less where a
// small tile and the spectra of one group stay in a first-level cache of 48 KB, 2 % less where they fill most of it, and 2 to 9 %
// more with one of 32 KB (Zen 4). AVX-512, of whose groups a small tile has one or two, gains nothing, four floats in a vector
// next to nothing.
template <class Real>
void LanesPlan<Real>::choose_sizes(Index largest_tile, Tables<Real>& tables) const {
  const Index vector_bytes = kernel_.lanes * static_cast<Index>(sizeof(Real)), spectrum_bytes = tables.spectrum_size * vector_bytes;
  const Index first_level = vector_bytes == kHalfLine && first_level_cache() > kSmallFirstLevel ? first_level_cache() : 0;
  const auto bytes = [&] {
    return tables.row(tables.rows) * static_cast<Index>(sizeof(Real)) + tables.together * spectrum_bytes;
  };
  const auto shrink = [&](const auto& too_large) {
    tables.tile = largest_tile;
    while (tables.tile > kSmallestTile && too_large()) tables.tile /= 2;
  };
  tables.together = 2;
  shrink([&] { return 3 * bytes() > 2 * first_level; });
  if (3 * bytes() > 2 * first_level) tables.together = 1;
  if (8 * bytes() <= 7 * first_level) return;

  const bool only_one_fits = 4 * spectrum_bytes <= 3 * first_level && 2 * spectrum_bytes > first_level;
  tables.together = only_one_fits || 2 * spectrum_bytes > kSpectraBytes ? 1 : 2;
  shrink([&] { return bytes() > (tables.tile > kSmallTile ? kCacheBytes : kLargeBytes); });
}

template <class Real>
void LanesPlan<Real>::make_layout(Index rows, Index largest_tile, Layout<Real>& layout) const {
  Tables<Real>& tables = layout.tables;
  tables.n_slots = slot(params_.n_bins() - 1) + 1;
  tables.magnitude = params_.power == 1;
  tables.transform = transform_.tables();
  tables.targets = targets_.empty() ? nullptr : targets_.data();
  tables.mel = mel_;
  // A sum of magnitudes is no power: these are squared and added bin by bin.
  tables.inner_begin = tables.magnitude ? tables.n_slots : mel_starts_[1];
  tables.inner_end = tables.magnitude ? tables.n_slots : mel_starts_[params_.n_mels];
  const double noise = kRounding / kToleratedNoise * (smooth_ ? 1.0 : kChirpNoise);
  tables.noise = static_cast<Real>(noise * noise / static_cast<double>(params_.n_bins()));
  tables.doubt = doubt_;
  tables.reliefs = reliefs_.data();
  tables.emphasised = emphasised_;
  tables.gains = gains_.data();
  const Index size = tables.transform.size;
  tables.prefetch_steps = n_blocks_ > 1 ? n_blocks_ + (block_length_ - 1) / 2 : 1;
  tables.block_length = block_length_;
  tables.block_stride = block_stride_;
  tables.spectrum_size = n_blocks_ * block_stride_;
  tables.rows = rows;
  tables.lanes = kernel_.lanes;
  tables.carry = (params_.n_fft - 1) / rows;
  tables.lead = round_up(tables.carry, kernel_.lanes);
  choose_sizes(largest_tile, tables);
  const Index leaf_distance = size / tables.transform.leaf * tables.row_stride() * static_cast<Index>(sizeof(Real));
  if (leaf_distance % kPageBytes == 0) tables.row_gap = kLineBytes / static_cast<Index>(sizeof(Real));

  // Samples outside the window are never read, so that what is not a number there does no harm: zeros stand for them.
  const auto offset = [&](Index t) {
    const Index row = in_window(t) ? t % rows : rows, column = in_window(t) ? t / rows : 0;
    return static_cast<int>(tables.row(row) + tables.lead - tables.carry + column);
  };
  for (const Index t : transform_.order()) {
    layout.offsets.push_back(offset(t));
    if (emphasis_ != 0.0) layout.before.push_back(offset(before(t)));
  }
  const int* const before = layout.before.empty() ? nullptr : layout.before.data();
  const bool quarters = lies_in_quarters(layout.offsets, tables.transform.leaf);
  tables.source = {layout.offsets.data(), weights_.data(), before, carried_.data(), quarters};
  if (smooth_) return;
  layout.chirp = {tables.source,
                  {layout.offsets.data(), sine_weights_.data(), before, sine_carried_.data(), quarters},
                  {natural_offsets_.data(), ones_.data(), nullptr, nullptr, false},
                  chirp_spectrum_.data()};
  tables.chirp = &layout.chirp;
}

template <class Real>
const Layout<Real>& LanesPlan<Real>::layout(Index clips, Index frames) const {
  // Between short clips the carried columns would waste more lanes than sharing samples saves.
  const bool separate = params_.hop_length >= params_.n_fft || (clips > 1 && 4 * overlapped_.tables.carry > frames);
  return separate ? separate_ : overlapped_;
}

template class LanesPlan<float>;
template class LanesPlan<double>;

}  // namespace clinaug::lanes
