#include "log_mel/device/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <string>

#include "log_mel/tables.hpp"

namespace clinaug::device {
namespace {

constexpr std::size_t kAlignment = 16;

// A band costs a thread about as much as so many bins: its logarithm and its store.
constexpr std::int64_t kBinsWorthABand = 4;

constexpr std::int64_t kBinsAPart = 6;

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

}  // namespace

std::vector<std::pair<std::int64_t, std::int64_t>> log_mel_sizes() {
#define CLINAUG_ITEM(n) {n, Size<n>::shared_bytes},
  return {CLINAUG_LOG_MEL_SIZES(CLINAUG_ITEM)};
#undef CLINAUG_ITEM
}

Plan::Plan(const LogMelParams& params) : params_(params) {
  make_windows();
  const bool known = with_size(params.n_fft, [&](auto size) {
    make_twiddles(size);
    make_bands(decltype(size)::groups, 2 * decltype(size)::cells / decltype(size)::F::frames);
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

std::vector<Segment> Plan::make_segments() const {
  const std::vector<double> edges = mel_edges_hz(params_);
  const std::vector<int> starts = mel_starts(params_, edges);
  const double hz_per_bin = static_cast<double>(params_.sample_rate) / static_cast<double>(params_.n_fft);
  const auto bins = [&](double from, double to) { return (to - from) / hz_per_bin; };
  // The slope of a side of `band`, a bin; 0 beyond the first and the last band. Finite, as no bin between two edges may meet
  // it times zero.
  const auto slope = [&](std::int64_t band, double width) {
    if (band < 0 || band >= params_.n_mels) return 0.0;
    return std::min<double>(band_height(params_, edges, band) / width, std::numeric_limits<float>::max());
  };
  std::vector<Segment> segments(params_.n_mels + 1);
  for (std::int64_t i = 0; i <= params_.n_mels; ++i) {
    const int begin = starts[i], end = starts[i + 1], last = end - 1 - begin;
    const double width = bins(edges[i], edges[i + 1]);
    segments[i] = {static_cast<float>(bins(edges[i], begin * hz_per_bin)),
                   static_cast<float>(slope(i, width)),
                   static_cast<float>(bins((end - 1) * hz_per_bin, edges[i + 1])),
                   static_cast<float>(slope(i - 1, width)),
                   static_cast<float>(last),
                   begin,
                   end,
                   0};
  }
  return segments;
}

void Plan::make_bands(std::int64_t groups, std::int64_t most_sums) {
  const std::vector<Segment> segments = make_segments();
  // Threads that share a band have less to wait for each other, and read neighbouring bins, with fewer bank conflicts; but
  // their sums must be added: that pays as long as a segment has some bins for each of them on average.
  const std::int64_t bins = segments.back().end - segments.front().begin;
  const auto fits = [&](std::int64_t split) {
    return bins >= kBinsAPart * split * (params_.n_mels + 1) && split <= groups && params_.n_mels * split <= most_sums;
  };
  while (fits(2 * split_)) split_ *= 2;
  n_chunks_ = static_cast<std::int32_t>(std::min(groups / split_, params_.n_mels));

  // Runs of bands that cost about the same.
  const auto cost_before = [&](std::int64_t band) { return segments[band].end - segments[0].begin + kBinsWorthABand * band; };
  std::vector<std::int32_t> chunks{0};
  for (std::int64_t chunk = 1, band = 0; chunk < n_chunks_; ++chunk) {
    const std::int64_t goal = cost_before(params_.n_mels) * chunk / n_chunks_;
    while (band < params_.n_mels && cost_before(band) < goal) ++band;
    chunks.push_back(static_cast<std::int32_t>(band));
  }
  chunks.push_back(static_cast<std::int32_t>(params_.n_mels));
  segments_at_ = append(segments);
  chunks_at_ = append(chunks);
}

Call Plan::call(const Waveforms& x, void* out, bool half_out, const void* tables) const {
  const auto at = [&]<class T>(std::size_t offset, const T*) {
    return reinterpret_cast<const T*>(static_cast<const std::byte*>(tables) + offset);
  };
  Call call;
  call.x = x.address;
  call.out = out;
  call.row_stride = x.row_stride;
  call.n_samples = x.n_samples;
  call.n_frames = params_.n_frames(x.n_samples);
  call.total_frames = x.batch * call.n_frames;
  call.n_tiles = (call.total_frames + frames_a_tile_ - 1) / frames_a_tile_;
  call.hop_length = params_.hop_length;
  call.padding = params_.padding();
  call.window = at(x.int16 ? int16_window_at_ : window_at_, call.window);
  call.row_twiddles = at(row_twiddles_at_, call.row_twiddles);
  call.middle_twiddles = at(middle_twiddles_at_, call.middle_twiddles);
  call.segments = at(segments_at_, call.segments);
  call.chunks = at(chunks_at_, call.chunks);
  call.n_mels = static_cast<std::int32_t>(params_.n_mels);
  call.n_chunks = n_chunks_;
  call.split = split_;
  call.window_start = static_cast<std::int32_t>(window_start(params_));
  call.win_length = static_cast<std::int32_t>(params_.win_length);
  call.pad_mode = params_.pad_mode == PadMode::reflect && x.n_samples == 1 ? PadMode::edge : params_.pad_mode;
  call.magnitude = params_.power == 1;
  call.half_out = half_out;
  call.floor = std::max(static_cast<float>(params_.floor), std::numeric_limits<float>::denorm_min());  // zero is below it
  call.log_floor = static_cast<float>(log_scale(params_) * std::log(params_.floor));
  call.log2_scale = static_cast<float>(log_scale(params_) * std::numbers::ln2);
  return call;
}

}  // namespace clinaug::device
