// One call's walk over clips and tiles.
//
// The clips of a batch are laid end to end as columns, so that a tile holds frames of as many clips as it takes: clip b
// owns the columns [b * pitch, (b + 1) * pitch), pitch = frames + carry. Lanes that fall on the carried columns between
// two clips are computed and dropped.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "common/view.hpp"
#include "log_mel/lanes/lanes_plan.hpp"
#include "log_mel/lanes/workspace.hpp"
#include "log_mel/params.hpp"

namespace clinaug::lanes {

// Samples [start, start + n) of the padded waveform, run by run: forward, mirrored or constant.
template <class In>
void copy_padded(const In* x, Index n_samples, Index stride, PadMode mode, Index start, Index n, In* to) {
  for (Index i = start, end = start + n; i < end;) {
    const Index first = padded_index(i, n_samples, mode);
    const Index second = i + 1 < end ? padded_index(i + 1, n_samples, mode) : first;
    const Index step = first < 0 ? 0 : second < 0 ? 1 : second - first;
    // A run ends with the waveform or, where it stands still, where the waveform begins.
    Index run = end - i;
    if (step == 1) run = std::min(run, n_samples - first);
    if (step == -1) run = std::min(run, first);
    if (step == 0 && i < 0) run = std::min(run, -i);
    for (Index k = 0; k < run; ++k) to[k] = first < 0 ? In{} : x[(first + k * step) * stride];
    to += run;
    i += run;
  }
}

template <class In, class Out>
class Walk {
 public:
  Walk(const LogMelParams& params, const Kernel& kernel, const Layout& layout, View<const In, 2> x, View<Out, 3> out)
      : params_(params), kernel_(kernel), layout_(layout), tables_(layout.tables), x_(x), out_(out) {}

  Index n_tiles() const { return (n_columns() + tables_.tile - 1) / tables_.tile; }

  // The tiles [begin, end), in order.
  void run(Index begin, Index end, Workspace& work) const {
    const Scratch scratch = prepare(work);
    for (Index index = begin; index < end; ++index) {
      const Index first = index * tables_.tile;
      Tile tile{};
      tile.n_groups = (std::min(tables_.tile, n_columns() - first) + kernel_.lanes - 1) / kernel_.lanes;
      tile.first_column = index == begin ? 0 : tables_.lead;
      tile.n_columns = tables_.lead + tile.n_groups * kernel_.lanes - tile.first_column;
      tile.pcm = std::is_same_v<In, std::int16_t>;
      gather(first + layout_.carry - tables_.lead + tile.first_column, tile.n_columns, work);
      tile.columns = work.columns.data();
      if (index + 1 < end) prefetch(first + layout_.carry + tables_.tile, tile);
      tile.out = float_rows(first, tile.n_groups * kernel_.lanes);
      tile.out_stride = out_.stride[1];
      if (tile.out) {
        kernel_.run(tables_, scratch, tile);
      } else {
        tile.out = reinterpret_cast<float*>(work.rows.at_least(sizeof(float) * params_.n_mels * tables_.tile));
        tile.out_stride = tables_.tile;
        kernel_.run(tables_, scratch, tile);
        copy_out(first, tile);
      }
    }
  }

 private:
  Index n_frames() const { return out_.extent[2]; }
  Index pitch() const { return n_frames() + layout_.carry; }
  Index n_columns() const { return x_.extent[0] * pitch() - layout_.carry; }

  Scratch prepare(Workspace& work) const {
    const Index waveform = (tables_.rows + 1) * tables_.row_stride();
    const Scratch scratch{reinterpret_cast<float*>(work.waveform.at_least(sizeof(float) * waveform)),
                          reinterpret_cast<float*>(work.spectrum.at_least(sizeof(float) * tables_.work_size * kernel_.lanes)),
                          reinterpret_cast<float*>(work.power.at_least(sizeof(float) * tables_.n_bins * tables_.tile))};
    std::fill_n(scratch.waveform + tables_.rows * tables_.row_stride(), tables_.row_stride(), 0.0f);
    std::memset(work.zeros.at_least(sizeof(In) * tables_.rows), 0, sizeof(In) * tables_.rows);
    return scratch;
  }

  // Where `n` columns from column `first` lie: in the caller's memory, or copied where they touch the padding.
  void gather(Index first, Index n, Workspace& work) const {
    const Index rows = tables_.rows;
    const auto* zeros = work.zeros.at_least(0);
    auto* staged = reinterpret_cast<In*>(work.staged.at_least(sizeof(In) * rows * tables_.row_stride()));
    work.columns.resize(n);
    for (Index j = 0; j < n; ++j) {
      const Index column = first + j, clip = column / pitch();
      if (column < 0 || column >= x_.extent[0] * pitch()) {
        work.columns[j] = zeros;
        continue;
      }
      const In* x = x_.data + clip * x_.stride[0];
      const Index start = (column - clip * pitch()) * params_.hop_length - params_.padding();
      if (x_.stride[1] == 1 && start >= 0 && start + rows <= x_.extent[1]) {
        work.columns[j] = x + start;
      } else {
        copy_padded(x, x_.extent[1], x_.stride[1], params_.pad_mode, start, rows, staged + j * rows);
        work.columns[j] = staged + j * rows;
      }
    }
  }

  // The waveform under the tile of columns from `first`, where it is one piece of memory.
  void prefetch(Index first, Tile& tile) const {
    const Index clip = first / pitch();
    const Index start = (first - clip * pitch()) * params_.hop_length - params_.padding();
    if (clip >= x_.extent[0] || start < 0 || start >= x_.extent[1] || x_.stride[1] != 1 || params_.hop_length > params_.n_fft) return;
    tile.prefetch = reinterpret_cast<const char*>(x_.data + clip * x_.stride[0] + start);
    tile.prefetch_bytes = sizeof(In) * std::min(tables_.tile * params_.hop_length, x_.extent[1] - start);
  }

  // The caller's memory, where the frames from column `first` are all wanted and can be written as they are.
  float* float_rows(Index first, Index n) const {
    if constexpr (std::is_same_v<Out, float>) {
      const Index clip = first / pitch(), frame = first - clip * pitch();
      if (out_.stride[2] == 1 && frame + n <= n_frames()) return out_.data + clip * out_.stride[0] + frame;
    }
    return nullptr;
  }

  void copy_out(Index first, const Tile& tile) const {
    const Index end = std::min(first + tile.n_groups * kernel_.lanes, n_columns());
    for (Index column = first; column < end;) {
      const Index clip = column / pitch(), frame = column - clip * pitch();
      const Index n = std::min(n_frames() - frame, end - column);
      for (Index m = 0; n > 0 && m < params_.n_mels; ++m) {
        copy_row(tile.out + m * tile.out_stride + (column - first), n,
                 out_.data + clip * out_.stride[0] + m * out_.stride[1] + frame * out_.stride[2]);
      }
      column = n > 0 ? column + n : (clip + 1) * pitch();
    }
  }

  void copy_row(const float* from, Index n, Out* to) const {
    if constexpr (std::is_same_v<Out, float>) {
      for (Index i = 0; i < n; ++i) to[i * out_.stride[2]] = from[i];
    } else {
      std::uint16_t halves[kLargestTile];
      kernel_.to_half(from, halves, n);
      for (Index i = 0; i < n; ++i) to[i * out_.stride[2]].bits = halves[i];
    }
  }

  const LogMelParams& params_;
  const Kernel& kernel_;
  const Layout& layout_;
  const Tables& tables_;
  View<const In, 2> x_;
  View<Out, 3> out_;
};

}  // namespace clinaug::lanes
