// One call's walk over clips and tiles, in one precision.
//
// The clips of a batch are laid end to end as columns, so that a tile holds frames of as many clips as it takes: clip b
// owns the columns [b * pitch, (b + 1) * pitch), pitch = frames + carry. Lanes that fall on the carried columns between
// two clips are computed and dropped. Clips whose frames nearly fill whole vectors have tiles of their own.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "common/numbers.hpp"
#include "log_mel/lanes/clips.hpp"
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
    const In* const from = x + first * stride;
    if (first < 0) {
      std::fill_n(to, run, In{});
    } else if (step * stride == 1) {
      std::copy_n(from, run, to);
    } else if (step * stride == -1) {
      std::reverse_copy(from + 1 - run, from + 1, to);
    } else {
      for (Index k = 0; k < run; ++k) to[k] = from[k * step * stride];
    }
    to += run;
    i += run;
  }
}

template <class T>
bool all_finite(const T* x, Index n) {
  if constexpr (std::is_integral_v<T>) return true;
  bool finite = true;
  for (Index i = 0; i < n; ++i) finite &= x[i] - x[i] == 0;
  return finite;
}

template <class In>
constexpr Sample sample_of() {
  return std::is_same_v<In, double> ? Sample::full : std::is_same_v<In, float> ? Sample::single : Sample::pcm16;
}

using Seen = std::array<Index, 3>;  // frames, by the way they need

template <class Real, class In, class Out>
class Walk {
 public:
  Walk(const LanesPlan<Real>& plan, const Clips<In, Out>& clips) : Walk(plan, plan.layout(clips.n, clips.n_frames()), clips) {}

  Walk(const LanesPlan<Real>& plan, const Layout<Real>& layout, const Clips<In, Out>& clips)
      : params_(plan.params()),
        kernel_(plan.kernel()),
        half_(plan.half_kernel()),
        layout_(layout),
        tables_(layout.tables),
        clips_(clips) {}

  Index tile() const { return apart() ? std::min(tables_.tile, n_frames()) : tables_.tile; }  // frames of the largest
  Index n_tiles() const { return apart() ? clips_.n * tiles(n_frames()) : tiles(n_columns()); }

  // The tiles [begin, end), in order. again(way, first, n, needs) is called for columns of which some need another way.
  template <class Again>
  void run(Index begin, Index end, Workspace& work, const Again& again) const {
    const Scratch<Real> scratch = prepare(work);
    for (Index index = begin; index < end; ++index) {
      const Index first = first_column(index), left = apart() ? n_frames() - first % pitch() : n_columns() - first;
      const Index n = std::min(tables_.tile, left), known = index == begin || begins_anew(index) ? 0 : tables_.lead;
      Tile<Real, Row> tile = tile_of(n, work);
      if (index + 1 < end) prefetch(first_column(index + 1) + (begins_anew(index + 1) ? 0 : tables_.carry), tile);
      const bool direct = write_directly(first, n, tile);
      if (direct && known == 0 && (index + 1 == end || begins_anew(index + 1))) {
        take_few_columns(first, n, tile, work);
      } else {
        take_columns(first, known, tile, work);
      }
      run_kernel(scratch, tile);
      copy_staged(first, n, tile, work);
      if constexpr (std::is_same_v<Real, float>) hand_on(first, n, tile.needs, again);
    }
  }

  // Those of the columns [first, first + n) that need `way`, anew.
  template <class Again>
  void run_some(Way way, Index first, Index n, const Way* needs, Workspace& work, const Again& again) const {
    const Scratch<Real> scratch = prepare(work);
    for (Index done = 0; done < n; done += tables_.tile) {
      const Index now = std::min(tables_.tile, n - done);
      Tile<Real, Row> tile = tile_of(now, work);
      take_columns(first + done, 0, tile, work);
      run_kernel(scratch, tile);
      copy_out(first + done, now, tile.groups[0], [&](Index j) { return needs[done + j] == way; });
      if constexpr (std::is_same_v<Real, float>) {
        for (Index j = 0; j < now; ++j) {
          if (needs[done + j] != way) tile.needs[j] = Way::plain;
        }
        hand_on(first + done, now, tile.needs, again);
      }
    }
  }

  // Frames, as `frame` names them, anew: at most kScattered; for a walk in which a column is a frame. again(way, frame) is called
  // for those that need another way.
  template <class Again>
  void run_listed(const Index* frames, Index n, Workspace& work, const Again& again) const {
    const Scratch<Real> scratch = prepare(work);
    const Tile<Real, Row> tile = tile_of_listed(n, [&](Index j) { return frames[j]; }, work);
    run_kernel(scratch, tile);
    for (Index j = 0, run; j < n; j += run) {
      for (run = 1; j + run < n && frames[j + run] == frames[j] + run;) ++run;
      copy_out(frames[j], run, {0, tile.groups[0].first + j, tile.groups[0].stride}, [](Index) { return true; });
    }
    if constexpr (std::is_same_v<Real, float>) {
      for (Index j = 0; j < n; ++j) {
        if (tile.needs[j] != Way::plain) again(tile.needs[j], frames[j]);
      }
    }
  }

  // The frame that begins in a column, counted over the clips.
  Index frame(Index column) const { return column / pitch() * n_frames() + column % pitch(); }

  // Looks at `each` frames, evenly spaced, of each of n clips, and counts the ways they need: seen[i], by way. Those with
  // NaN or infinity say nothing of the others. n * each <= kScattered; for a walk in which a column is a frame.
  void glance(const Index* clips, Index n, Index each, Workspace& work, Seen* seen) const {
    const Scratch<Real> scratch = prepare(work);
    const auto evenly = [&](Index j) {
      return clips[j / each] * n_frames() + (2 * (j % each) + 1) * n_frames() / (2 * each);
    };
    run_kernel(scratch, tile_of_listed(n * each, evenly, work));
    for (Index j = 0; j < n * each; ++j) {
      const bool says = work.needs[j] == Way::plain || all_finite(static_cast<const In*>(work.columns[j]), tables_.rows);
      seen[j / each][static_cast<int>(work.needs[j])] += says;
    }
  }

 private:
  using Row = std::conditional_t<std::is_same_v<Out, double>, double, float>;  // what the kernel writes

  void run_kernel(const Scratch<Real>& scratch, const Tile<Real, Row>& tile) const {
    if constexpr (std::is_same_v<Row, float>) {
      kernel_.to_single(tables_, scratch, tile);
      if (tile.has_rest) half_->rest_to_single(tables_, scratch, tile);
    } else {
      kernel_.to_real(tables_, scratch, tile);
      if (tile.has_rest) half_->rest_to_real(tables_, scratch, tile);
    }
  }

  Index n_frames() const { return clips_.n_frames(); }
  Index pitch() const { return n_frames() + tables_.carry; }
  Index n_columns() const { return clips_.n * pitch() - tables_.carry; }

  // Whether each clip has tiles of its own: where it fills fewer vectors so.
  bool apart() const { return round_up(n_frames(), kernel_.lanes) < pitch(); }
  Index tiles(Index columns) const { return (columns + tables_.tile - 1) / tables_.tile; }
  Index first_column(Index tile) const {
    const Index of_clip = tiles(n_frames());
    return apart() ? tile / of_clip * pitch() + tile % of_clip * tables_.tile : tile * tables_.tile;
  }
  bool begins_anew(Index tile) const { return apart() && tile % tiles(n_frames()) == 0; }

  Scratch<Real> prepare(Workspace& work) const {
    const auto numbers = [](Aligned& memory, Index n) { return reinterpret_cast<Real*>(memory.at_least(sizeof(Real) * n)); };
    const auto clear_gaps = [&](Real* spectra, Index n, Index lanes) {
      const Index gap = tables_.block_stride - tables_.block_length;
      for (Index end = tables_.block_stride; end <= n * tables_.spectrum_size; end += tables_.block_stride) {
        std::fill_n(spectra + (end - gap) * lanes, gap * lanes, Real{0});
      }
    };
    Scratch<Real> scratch{numbers(work.waveform, tables_.lead + tables_.row(tables_.rows) + tables_.row_stride()) + tables_.lead,
                          numbers(work.spectra, tables_.together * tables_.spectrum_size * kernel_.lanes), nullptr};
    clear_gaps(scratch.spectra, tables_.together, kernel_.lanes);
    if (half_ != nullptr) {
      scratch.rest = numbers(work.rest, tables_.spectrum_size * half_->lanes);
      clear_gaps(scratch.rest, 1, half_->lanes);
    }
    std::fill_n(scratch.waveform + tables_.row(tables_.rows), tables_.row_stride(), Real{0});
    std::memset(work.zeros.at_least(sizeof(In) * tables_.rows), 0, sizeof(In) * tables_.rows);
    return scratch;
  }

  static Index all_groups(const Tile<Real, Row>& tile) { return tile.n_groups + tile.has_rest; }

  // n frames, into the workspace's rows; of columns that are still to be named.
  Tile<Real, Row> tile_of(Index n, Workspace& work) const {
    Tile<Real, Row> tile{};
    const Index beyond = n % kernel_.lanes;
    tile.has_rest = half_ != nullptr && beyond > 0 && beyond <= half_->lanes;
    tile.n_groups = n / kernel_.lanes + (beyond > 0 && !tile.has_rest);
    tile.sample = sample_of<In>();
    for (Index g = 0; g < all_groups(tile); ++g) {
      tile.groups[g] = {g * kernel_.lanes, staged_rows(work) + g * kernel_.lanes, tables_.tile};
    }
    tile.needs = work.needs;
    return tile;
  }

  // Of n frames, frame_of(j), that lie anywhere; for a walk in which a column is a frame.
  template <class FrameOf>
  Tile<Real, Row> tile_of_listed(Index n, const FrameOf& frame_of, Workspace& work) const {
    In* const staged = stage(work);
    work.columns.resize(round_up(n, kernel_.lanes));
    for (Index j = 0; j < static_cast<Index>(work.columns.size()); ++j) {
      const Index frame = frame_of(std::min(j, n - 1));
      work.columns[j] = column(frame / n_frames(), frame % n_frames(), staged + j * tables_.rows);
    }
    Tile<Real, Row> tile = tile_of(n, work);
    name_columns(tile, work);
    return tile;
  }

  // Those of the frames from column `first`, of which the first `known` lie transposed already.
  void take_columns(Index first, Index known, Tile<Real, Row>& tile, Workspace& work) const {
    gather(first + tables_.carry - tables_.lead + known, tables_.lead + all_groups(tile) * kernel_.lanes - known, work);
    name_columns(tile, work);
    tile.first_column = known;
  }

  // Those of n frames from column `first` that no tile continues, written directly: no lane reads beyond them, and of the lead,
  // of which frames reach `carry` columns, none need be empty.
  void take_few_columns(Index first, Index n, Tile<Real, Row>& tile, Workspace& work) const {
    gather(first, round_up(n + tables_.carry, kernel_.lanes), work);
    name_columns(tile, work);
    tile.skipped = tables_.lead - tables_.carry;
  }

  static void name_columns(Tile<Real, Row>& tile, Workspace& work) {
    tile.columns = work.columns.data();
    tile.n_columns = static_cast<Index>(work.columns.size());
  }

  // Where `n` columns from column `first` lie.
  void gather(Index first, Index n, Workspace& work) const {
    const auto* zeros = work.zeros.at_least(0);
    In* const staged = stage(work);
    work.columns.resize(n);
    Index clip = first < 0 ? -1 : first / pitch(), within = first - clip * pitch();
    for (Index j = 0; j < n; ++j, ++within) {
      if (within == pitch()) {
        ++clip;
        within = 0;
      }
      if (clip < 0 || clip >= clips_.n) {
        work.columns[j] = zeros;
        continue;
      }
      work.columns[j] = column(clip, within, staged + j * tables_.rows);
    }
  }

  // Room for the columns of a tile.
  In* stage(Workspace& work) const { return reinterpret_cast<In*>(work.staged.at_least(sizeof(In) * tables_.rows * tables_.row_stride())); }

  // Room for the log-mels of a tile.
  Row* staged_rows(Workspace& work) const { return reinterpret_cast<Row*>(work.rows.at_least(sizeof(Row) * params_.n_mels * tables_.tile)); }

  // In the caller's memory, or copied where it touches the padding.
  const In* column(Index clip, Index within, In* staged) const {
    const In* x = clips_.samples(clip);
    const Index start = within * params_.hop_length - params_.padding(), rows = tables_.rows, stride = clips_.x.stride[1];
    if (stride == 1 && start >= 0 && start + rows <= clips_.n_samples()) return x + start;
    copy_padded(x, clips_.n_samples(), stride, params_.pad_mode, start, rows, staged);
    return staged;
  }

  // The waveform under the tile of columns from `first`, where it is one piece of memory. Windows of one recording are, and what may
  // lie between them does no harm.
  void prefetch(Index first, Tile<Real, Row>& tile) const {
    const Index clip = first / pitch();
    const Index start = std::max<Index>(0, (first - clip * pitch()) * params_.hop_length - params_.padding());
    const Index n_samples = clips_.n_samples(), apart = clips_.x.stride[0];
    if (clip >= clips_.n || start >= n_samples || clips_.x.stride[1] != 1 || params_.hop_length > params_.n_fft) return;
    const bool close = clips_.rows == nullptr && 0 < apart && apart < n_samples + params_.n_fft;
    const Index end = n_samples + (close ? (clips_.n - 1 - clip) * apart : 0);
    tile.prefetch = reinterpret_cast<const char*>(clips_.samples(clip) + start);
    tile.prefetch_bytes = sizeof(In) * std::min(tables_.tile * params_.hop_length, end - start);
  }

  // Sends the groups of n frames from column `first` to the caller's memory, where the frames of a group are all of one clip and
  // can be written as they are. A last group that is not full then begins earlier, and some frames are computed twice.
  // Whether all of them are.
  bool write_directly(Index first, Index n, Tile<Real, Row>& tile) const {
    bool all = false;
    if constexpr (std::is_same_v<Out, Row>) {
      if (clips_.out.stride[2] != 1) return false;
      all = true;
      for (Index g = 0; g < all_groups(tile); ++g) {
        const Index lanes = g < tile.n_groups ? kernel_.lanes : half_->lanes, column = std::min(g * kernel_.lanes, n - lanes);
        const Index clip = (first + column) / pitch(), frame = first + column - clip * pitch();
        const bool is_of_one_clip = column >= 0 && frame + lanes <= n_frames();
        if (is_of_one_clip) tile.groups[g] = {column, clips_.log_mels(clip) + frame, clips_.out.stride[1]};
        else all = false;
      }
    }
    return all;
  }

  // The frames of the groups that were not written directly.
  void copy_staged(Index first, Index n, const Tile<Real, Row>& tile, Workspace& work) const {
    const auto is_staged = [&](Index g) { return tile.groups[g].first == staged_rows(work) + g * kernel_.lanes; };
    for (Index g = 0; g < all_groups(tile); ++g) {
      const Index from = g;
      while (g < all_groups(tile) && is_staged(g)) ++g;
      if (from == g) continue;
      const Index begin = from * kernel_.lanes, end = std::min(n, g * kernel_.lanes);
      copy_out(first + begin, end - begin, tile.groups[from], [](Index) { return true; });
    }
  }

  // Those frames of n columns that are wanted.
  template <class Wanted>
  void copy_out(Index first, Index n, const Group<Row>& rows, const Wanted& wanted) const {
    for (Index j = 0; j < n;) {
      const Index clip = (first + j) / pitch(), frame = first + j - clip * pitch();
      const Index end = std::min(n, j + n_frames() - frame);
      if (end <= j || !wanted(j)) {
        j = end <= j ? (clip + 1) * pitch() - first : j + 1;
        continue;
      }
      Index run = 1;
      while (j + run < end && wanted(j + run)) ++run;
      for (Index m = 0; m < params_.n_mels; ++m) {
        copy_row(rows.first + m * rows.stride + j, run,
                 clips_.log_mels(clip) + m * clips_.out.stride[1] + frame * clips_.out.stride[2]);
      }
      j += run;
    }
  }

  void copy_row(const Row* from, Index n, Out* to) const {
    const Index stride = clips_.out.stride[2];
    if constexpr (std::is_same_v<Out, Half>) {
      std::uint16_t halves[kLargestTile];
      kernel_.to_half(from, halves, n);
      for (Index i = 0; i < n; ++i) to[i * stride].bits = halves[i];
    } else if (stride == 1) {
      std::copy_n(from, n, to);
    } else {
      for (Index i = 0; i < n; ++i) to[i * stride] = from[i];
    }
  }

  // Of either way, runs of columns, from one that needs it to another, without a gap that is worth leaving out.
  template <class Again>
  void hand_on(Index first, Index n, Way* needs, const Again& again) const {
    constexpr Index kGap = 8;
    bool any = false;
    for (Index j = 0; j < n; ++j) any |= needs[j] != Way::plain;
    if (!any) return;
    for (Index j = 0; j < n; ++j) {
      if ((first + j) % pitch() >= n_frames()) needs[j] = Way::plain;  // between two clips
    }
    for (const Way way : {Way::emphasised, Way::full}) {
      Index begin = n, last = n;
      for (Index j = 0; j < n; ++j) {
        if (needs[j] != way) continue;
        if (begin < n && j - last > kGap) {
          again(way, first + begin, last + 1 - begin, needs + begin);
          begin = n;
        }
        if (begin == n) begin = j;
        last = j;
      }
      if (begin < n) again(way, first + begin, last + 1 - begin, needs + begin);
    }
  }

  const LogMelParams& params_;
  const Kernel<Real>& kernel_;
  const Kernel<Real>* half_;
  const Layout<Real>& layout_;
  const Tables<Real>& tables_;
  Clips<In, Out> clips_;
};

}  // namespace clinaug::lanes
