#include "log_mel/lanes/lanes_plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>

#include "common/parallel.hpp"
#include "log_mel/lanes/chirp_plan.hpp"
#include "log_mel/lanes/walk.hpp"
#include "log_mel/tables.hpp"

namespace clinaug::lanes {
namespace {


// A thread costs some ten microseconds; it pays from about this many samples transformed.
constexpr Index kSamplesWorthAThread = 1 << 18;

constexpr Index kSmallestTile = 32;
constexpr Index kCacheBytes = 400 << 10;  // what the working memory of a thread should stay below

Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

}  // namespace

LanesPlan::LanesPlan(const LogMelParams& params, const Kernel& kernel)
    : params_(params),
      kernel_(kernel),
      smooth_(std::isfinite(TransformPlan::cost(params.n_fft))),
      transform_(smooth_ ? params.n_fft : chirp_length(params.n_fft)),
      mel_walk_(make_mel_walk(params)) {
  make_weights();
  make_mel();
  make_layout(params.n_fft, separate_);
  if (params.hop_length < params.n_fft) make_layout(params.hop_length, overlapped_);
}

void LanesPlan::make_weights() {
  const std::vector<double> window = make_window(params_);
  const Index size = transform_.tables().size;
  weights_.resize(size);
  if (!smooth_) sine_weights_.resize(size);
  for (Index place = 0; place < size; ++place) {
    const Index t = transform_.order()[place], i = t - window_start(params_);
    if (i < 0 || i >= params_.win_length) continue;
    const ChirpValue chirp = smooth_ ? ChirpValue{1.0, 0.0} : chirp_value(t, params_.n_fft);
    weights_[place] = static_cast<float>(window[i] * chirp.re);
    if (!smooth_) sine_weights_[place] = static_cast<float>(window[i] * chirp.im);
  }
  if (smooth_) return;
  ones_.assign(size, 1.0f);
  chirp_spectrum_ = chirp_spectrum(params_.n_fft, size);
  for (const Index t : transform_.order()) natural_offsets_.push_back(static_cast<int>(t * kernel_.lanes));
}

void LanesPlan::make_mel() {
  const double scale = log_scale(params_);
  mel_ = {static_cast<int>(params_.n_mels), mel_walk_.starts.data(), mel_walk_.slopes.data(), static_cast<float>(params_.floor),
          static_cast<float>(scale * std::log(params_.floor)), static_cast<float>(scale)};
}

void LanesPlan::make_layout(Index rows, Layout& layout) const {
  layout.carry = (params_.n_fft - 1) / rows;
  Tables& tables = layout.tables;
  tables.n_bins = params_.n_bins();
  tables.magnitude = params_.power == 1;
  tables.transform = transform_.tables();
  tables.mel = mel_;
  const Index size = tables.transform.size;
  tables.n_blocks = smooth_ && tables.transform.n_passes > 0 ? tables.transform.passes[tables.transform.n_passes - 1].radix : 1;
  // One vector more than the block holds: blocks a power of two apart would fight for the same cache sets.
  tables.block_stride = size / tables.n_blocks + 1;
  tables.work_size = smooth_ ? tables.n_blocks * tables.block_stride : 4 * size;

  tables.rows = rows;
  tables.lead = round_up(layout.carry, kernel_.lanes);
  tables.tile = kLargestTile;
  const auto bytes = [&] {
    return 4 * (rows * tables.row_stride() + (tables.n_bins * kTogether + tables.work_size) * kernel_.lanes);
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

template <class In, class Out>
void LanesPlan::run(View<const In, 2> x, View<Out, 3> out, std::int64_t threads) const {
  if (x.extent[0] == 0 || out.extent[2] == 0) return;
  // Between short clips the carried columns would waste more lanes than sharing samples saves.
  const bool separate = params_.hop_length >= params_.n_fft || (x.extent[0] > 1 && 4 * overlapped_.carry > out.extent[2]);
  const Layout& layout = separate ? separate_ : overlapped_;
  const Walk<In, Out> walk(params_, kernel_, layout, x, out);
  const Index n_tiles = walk.n_tiles();
  const Index worth_a_thread = kSamplesWorthAThread / (layout.tables.tile * params_.n_fft) + 1;
  const Index workers = std::clamp<Index>(n_tiles / worth_a_thread, 1, threads);
  // Tiles are claimed a few at a time: a thread that starts late does less.
  const Index claim = workers == 1 ? n_tiles : std::max<Index>(1, n_tiles / (8 * workers));
  std::atomic<Index> next = 0;
  parallel_for(workers, workers, 1, [&](Index, Index) {
    std::unique_ptr<Workspace> work = workspaces_.take();
    for (Index begin; (begin = next.fetch_add(claim)) < n_tiles;) walk.run(begin, std::min(begin + claim, n_tiles), *work);
    workspaces_.give_back(std::move(work));
  });
}

template void LanesPlan::run(View<const float, 2>, View<float, 3>, std::int64_t) const;
template void LanesPlan::run(View<const float, 2>, View<Half, 3>, std::int64_t) const;
template void LanesPlan::run(View<const std::int16_t, 2>, View<float, 3>, std::int64_t) const;
template void LanesPlan::run(View<const std::int16_t, 2>, View<Half, 3>, std::int64_t) const;

}  // namespace clinaug::lanes
