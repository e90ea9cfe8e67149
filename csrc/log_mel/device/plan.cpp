#include "log_mel/device/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <numbers>
#include <numeric>
#include <stdexcept>
#include <string>

#include "log_mel/tables.hpp"

namespace clinaug::device {
namespace {

constexpr std::size_t kAlignment = 16;

constexpr std::int64_t kMostFrames = 1 << 30;  // frames, and the bytes of a band's row, are counted in 32 bits

Complex32 root(std::int64_t k, std::int64_t n) {
  const double angle = -2.0 * std::numbers::pi * static_cast<double>(k % n) / static_cast<double>(n);
  return {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
}

// w_n^(place * e) for the exponents e that `Table` holds, at [slot][place].
template <class Table>
std::vector<Complex32> twiddles(std::int64_t n, std::int64_t places) {
  std::vector<Complex32> values(Table::slots * places);
  for (int e = 1; e <= Table::count; ++e) {
    if (!Table::tabulated(e)) continue;
    for (std::int64_t place = 0; place < places; ++place) values[Table::slot(e) * places + place] = root(place * e, n);
  }
  return values;
}

constexpr int kWarp = 32;

// The bands in the order of the kernel: (rounds, teams).
struct Deal {
  int split = 1, rounds = 0;
  std::vector<Band> bands;
  bool fits = true;   // no thread reads beyond the last bin
  double cost = 0.0;  // instructions of a block, about
};

// Warps wait for the longest band of their teams, and a block for its last warp. So neighbours in a sorted list go to a warp
// together, the longest first, always to the warp with the least to do.
Deal deal_out(const std::vector<MelBand>& bands, std::int64_t n_bins, int threads, int lanes, int abreast, int split) {
  const int at_once = 4 * split, teams = kWarp / (lanes * split), warps = threads / kWarp;
  std::vector<Band> sorted;
  Deal deal;
  for (std::int32_t m = 0; m < std::ssize(bands); ++m) {
    const auto length = static_cast<std::int32_t>(bands[m].weights.size()), steps = (length + at_once - 1) / at_once;
    const std::int64_t latest = n_bins - steps * at_once;  // begins there at the latest: what follows must be bins too
    deal.fits = deal.fits && latest >= 0;
    sorted.push_back({static_cast<std::int32_t>(std::min(bands[m].start, latest)), steps, 0, m});
  }
  std::ranges::stable_sort(sorted, std::greater{}, &Band::steps);
  const auto hands = (std::ssize(sorted) + teams - 1) / teams;
  deal.split = split;
  deal.rounds = static_cast<int>((hands + warps - 1) / warps);
  deal.bands.assign(static_cast<std::size_t>(deal.rounds) * warps * teams, Band{0, 0, 0, -1});
  // Instructions: of four bins, loads and loop and products; of a band, its sums among the team, logarithms and stores.
  const double a_step = 10 + 4 * abreast;
  const double a_band = 16 + 2 * abreast * std::log2(split) + 8 * std::max(1, abreast / split);
  std::vector<double> load(warps);
  std::vector<int> dealt(warps);
  for (std::int64_t hand = 0; hand < hands; ++hand) {
    int warp = -1;
    for (int w = 0; w < warps; ++w) {
      if (dealt[w] < deal.rounds && (warp < 0 || load[w] < load[warp])) warp = w;
    }
    const auto first = sorted.begin() + hand * teams, last = sorted.begin() + std::min(std::ssize(sorted), (hand + 1) * teams);
    std::copy(first, last, deal.bands.begin() + (dealt[warp]++ * warps + warp) * teams);
    load[warp] += a_step * first->steps + a_band;
  }
  // Between the two: other blocks fill some of the time in which warps wait for the last.
  deal.cost = 0.5 * (std::accumulate(load.begin(), load.end(), 0.0) + warps * std::ranges::max(load));
  return deal;
}

}  // namespace

std::vector<std::pair<std::int64_t, std::int64_t>> log_mel_sizes() {
#define CLINAUG_ITEM(n) {n, Size<n>::shared_bytes},
  return {CLINAUG_LOG_MEL_SIZES(CLINAUG_ITEM)};
#undef CLINAUG_ITEM
}

Plan::Plan(const LogMelParams& params) : params_(params) {
  make_windows();
  const bool known = with_size(params.n_fft, [&](auto size) {
    using S = decltype(size);
    make_twiddles(size);
    make_bands(S::F::threads, S::lanes, S::F::abreast);
  });
  if (known) return;
  std::string sizes;
  for (const auto& [n, shared_bytes] : log_mel_sizes()) sizes += (sizes.empty() ? "" : ", ") + std::to_string(n);
  throw std::invalid_argument("log_mel has no CUDA kernel for n_fft " + std::to_string(params.n_fft) + "; expected one of " +
                              sizes + ". The operator clinaug_fast.ops.log_mel takes torch's FFT for the others");
}

template <class T>
std::size_t Plan::append(const std::vector<T>& values) {
  const std::size_t at = (tables_.size() + kAlignment - 1) / kAlignment * kAlignment;
  tables_.resize(at + values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(tables_.data() + at, values.data(), values.size() * sizeof(T));
  return at;
}

void Plan::make_windows() {
  const std::vector<double> window = make_window(params_);
  std::vector<float> full(params_.n_fft), scaled(params_.n_fft);
  for (std::int64_t i = 0; i < params_.win_length; ++i) {
    full[window_start(params_) + i] = static_cast<float>(window[i]);
    scaled[window_start(params_) + i] = static_cast<float>(window[i]) / 32768.0f;
  }
  window_at_ = append(full);
  int16_window_at_ = append(scaled);
}

template <class S>
void Plan::make_twiddles(S) {
  frames_a_tile_ = S::F::frames;
  row_twiddles_at_ = append(twiddles<RowPowers<S>>(S::n_fft, S::inner));
  if constexpr (S::F::middle > 1) middle_twiddles_at_ = append(twiddles<MiddlePowers<S>>(S::inner, S::F::last));
}

void Plan::make_bands(int threads, int lanes, int abreast) {
  const std::vector<MelBand> bands = make_mel_bands(params_);
  Deal best;
  for (int split = 1; split * lanes <= kWarp; split *= 2) {
    const Deal deal = deal_out(bands, params_.n_bins(), threads, lanes, abreast, split);
    if (!deal.fits) break;
    if (split == 1 || deal.cost < best.cost) best = deal;
  }
  split_ = best.split;
  rounds_ = best.rounds;
  std::vector<Abreast<4>> weights;
  for (Band& band : best.bands) {
    band.weights = static_cast<std::int32_t>(weights.size());
    for (int vector = 0; vector < band.steps * split_; ++vector) {
      const int step = vector / split_, part = vector % split_;
      Abreast<4> four{};
      for (int q = 0; q < 4; ++q) {
        const std::int64_t i = band.begin + (4 * step + q) * split_ + part - bands[band.band].start;
        if (i < 0 || i >= std::ssize(bands[band.band].weights)) continue;
        four.of[q] = static_cast<float>(std::min<double>(bands[band.band].weights[i], std::numeric_limits<float>::max()));
      }
      weights.push_back(four);
    }
  }
  // A thread asks for the bands of the next two rounds and the weights of one before it knows that there are none.
  best.bands.resize(best.bands.size() + 2 * (threads / (lanes * split_)));
  weights.resize(weights.size() + 2 * split_);
  bands_at_ = append(best.bands);
  weights_at_ = append(weights);
}

Call Plan::call(const Waveforms& x, void* out, bool half_out, const void* tables) const {
  const auto at = [&]<class T>(std::size_t offset, const T*) {
    return reinterpret_cast<const T*>(static_cast<const std::byte*>(tables) + offset);
  };
  const std::int64_t n_frames = params_.n_frames(x.n_samples), total = x.batch * n_frames, hop = params_.hop_length;
  if (total >= kMostFrames || hop > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("log_mel: a call with " + std::to_string(total) + " frames, hop_length " + std::to_string(hop) +
                                "; the CUDA kernel takes fewer than 2^30 frames and a hop_length below 2^31. Split the batch");
  }
  Call call;
  call.x = x.address;
  call.out = out;
  call.row_stride = x.row_stride;
  call.n_samples = x.n_samples;
  call.n_frames = static_cast<std::int32_t>(n_frames);
  call.total_frames = static_cast<std::int32_t>(total);
  call.n_tiles = (call.total_frames + frames_a_tile_ - 1) / frames_a_tile_;
  call.by_waveform = Divider(std::max<std::int64_t>(n_frames, 1));
  call.other_bands = n_frames * (params_.n_mels - 1);
  call.hop_length = static_cast<std::int32_t>(hop);
  call.padding = static_cast<std::int32_t>(params_.padding());
  call.interior = static_cast<std::int32_t>((call.padding + hop - 1) / hop);
  const std::int64_t last_start = x.n_samples - params_.n_fft + call.padding;  // in the padded waveform
  call.interior_end = last_start < 0 ? 0 : static_cast<std::int32_t>(last_start / hop + 1);
  call.window = at(x.int16 ? int16_window_at_ : window_at_, call.window);
  call.row_twiddles = at(row_twiddles_at_, call.row_twiddles);
  call.middle_twiddles = at(middle_twiddles_at_, call.middle_twiddles);
  call.bands = at(bands_at_, call.bands);
  call.weights = at(weights_at_, call.weights);
  call.rounds = rounds_;
  call.split = split_;
  call.window_start = static_cast<std::int32_t>(window_start(params_));
  call.win_length = static_cast<std::int32_t>(params_.win_length);
  call.pad_mode = params_.pad_mode == PadMode::reflect && x.n_samples == 1 ? PadMode::edge : params_.pad_mode;
  call.magnitude = params_.power == 1;
  call.half_out = half_out;
  call.floor = std::max(static_cast<float>(params_.floor), std::numeric_limits<float>::denorm_min());  // zero is below it
  call.log_floor = static_cast<float>(log_scale(params_) * std::log(params_.floor));
  const double log2_scale = log_scale(params_) * std::numbers::ln2;
  constexpr int kLift = 24;
  const bool lifted = call.floor < std::numeric_limits<float>::min();
  call.log2_scale = static_cast<float>(log2_scale);
  call.lift = lifted ? static_cast<float>(1 << kLift) : 1.0f;
  call.log_lift = lifted ? static_cast<float>(-kLift * log2_scale) : 0.0f;
  return call;
}

}  // namespace clinaug::device
