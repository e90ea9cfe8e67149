// The frames-in-lanes log-mel kernel of one instruction set and precision; compiled once for each, see vector.hpp.
//
// A tile of frames goes through three steps: the waveform is transposed so that sample t of neighbouring frames lies in
// neighbouring floats (each sample is moved once, however much the frames overlap), every group of kLanes frames is
// transformed into a power spectrum, and the power spectra of two groups at once become rows of log-mel.
#ifdef __F16C__
#include <immintrin.h>
#endif

#include "common/convert.hpp"
#include "log_mel/lanes/chirp.hpp"
#include "log_mel/lanes/mel.hpp"
#include "log_mel/lanes/transform.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {
namespace {

template <class Sample>
Real to_unit(Sample value) {
  return static_cast<Real>(value) * (sizeof(Sample) == sizeof(std::int16_t) ? Real(1.0 / 32768.0) : Real(1));
}

// Columns whole pages apart share a few lines of the first-level cache: blocks of rows that begin where its lines do need each
// line only once. How many rows lie before the first such block.
template <class Sample>
Index rows_before_line(const Sample* const* columns) {
  constexpr Index kBlockBytes = kLanes * static_cast<Index>(sizeof(Sample));
  const auto first = reinterpret_cast<std::uintptr_t>(columns[0]), second = reinterpret_cast<std::uintptr_t>(columns[1]);
  if ((second - first) % kPageBytes != 0) return 0;
  return static_cast<Index>(-first % kBlockBytes / sizeof(Sample));
}

// kLanes columns, of which the last ones become columns of this tile. They are carried row by row, just before the row is
// overwritten: so its line is fetched once.
class Carried {
 public:
  // Columns from `from` on; null: none of them is wanted.
  Carried(const Tables& tables, Real* from) : tables_(tables), row_(from) {}

  // The rows before `end`; ends ascend.
  inline void upto(Index end) {
    if (row_ == nullptr) return;
    const Index back = -tables_.tile, stride = tables_.row_stride();
    for (; u_ < end; ++u_, row_ += stride + (u_ % kLanes == 0 ? tables_.row_gap : 0)) {
      if (tables_.carry <= kFew) {
        __builtin_memcpy(row_ + kLanes - kFew + back, row_ + kLanes - kFew, sizeof(Real) * kFew);
      } else {
        store(row_ + back, load(row_));
      }
    }
  }

 private:
  static constexpr Index kFew = kLanes < 4 ? kLanes : 4;  // a store of a quarter of a vector takes half as long

  const Tables& tables_;
  Real* row_;
  Index u_ = 0;
};

// The rows u .. u + kLanes - 1.
template <class Sample>
__attribute__((noinline)) void transpose_rows(const Tables& tables, const Sample* const* columns, Index u, Real* out) {
  const Index stride = tables.row_stride(), gap = tables.row_gap;
  transpose_block(columns, u, out + u * stride + u / kLanes * gap, stride, kLanes - u % kLanes, gap);
}

// kLanes columns of samples, the first of them at out. The first and the last rows may come twice.
template <class Sample>
void transpose_columns(const Tables& tables, const Sample* const* columns, Carried carried, Real* out) {
  const Index rows = tables.rows, stride = tables.row_stride();
  if (rows < kLanes) {
    carried.upto(rows);
    for (Index u = 0; u < rows; ++u, out += stride) {
      for (int j = 0; j < kLanes; ++j) out[j] = to_unit(columns[j][u]);
    }
    return;
  }
  Index u = rows_before_line(columns);
  if (u > 0) {
    carried.upto(kLanes);
    transpose_rows(tables, columns, 0, out);
    for (; u + kLanes <= rows; u += kLanes) {
      carried.upto(u + kLanes);
      transpose_rows(tables, columns, u, out);
    }
  } else {
    Real* to = out;
    for (; u + kLanes <= rows; u += kLanes, to += kLanes * stride + tables.row_gap) {
      carried.upto(u + kLanes);
      transpose_block(columns, u, to, stride, kLanes, 0);
    }
  }
  carried.upto(rows);
  if (u < rows) transpose_rows(tables, columns, rows - kLanes, out);
}

// The new columns of a tile, behind those that it shares with the tile before.
template <class Sample, class Out>
void transpose(const Tables& tables, const Tile<Out>& tile, Real* waveform) {
  const auto columns = reinterpret_cast<const Sample* const*>(tile.columns);
  const Index first = tile.first_column, end = first + tile.n_columns, last = tables.lead + tables.tile;
  const bool continued = first != 0;
  const auto carried = [&](Index j) {
    const bool wanted = continued && j >= tables.tile && j + kLanes > last - tables.carry;
    return Carried(tables, wanted ? waveform + j : nullptr);
  };
  for (Index j = 0; j < last; j += kLanes) {  // ascending: nothing comes to lie on columns that are still to carry
    if (first <= j && j < end) {
      transpose_columns(tables, columns + (j - first), carried(j), waveform + j);
    } else {
      carried(j).upto(tables.rows);
    }
  }
}

template <class Out>
void run(const Tables& tables, const Scratch& scratch, const Tile<Out>& tile) {
  switch (tile.sample) {
    case Sample::pcm16: transpose<std::int16_t>(tables, tile, scratch.waveform); break;
    case Sample::single: transpose<float>(tables, tile, scratch.waveform); break;
    case Sample::full:  // never in single precision, see kMaySingle
      if constexpr (!kSingle) transpose<double>(tables, tile, scratch.waveform);
      break;
  }
  const auto transform = tables.chirp ? chirp_power_spectrum : power_spectrum;
  const Index steps = tile.n_groups * tables.prefetch_steps;
  Prefetch prefetch(tile.prefetch, steps > 0 ? tile.prefetch_bytes / steps : 0);
  const Real* const waveform = scratch.waveform - tile.skipped;
  V* const spectra = reinterpret_cast<V*>(scratch.spectra);
  for (Index g = 0; g < tile.n_groups; g += tables.together) {
    const Index n = tile.n_groups - g < tables.together ? tile.n_groups - g : tables.together;
    for (Index i = 0; i < n; ++i) {
      transform(tables, waveform + tile.groups[g + i].column, spectra + i * tables.spectrum_size, prefetch);
    }
    const auto rows = n == 2 ? log_mel_rows<2, Out> : log_mel_rows<1, Out>;
    rows(tables, spectra, tile.needs, tile.groups + g);
  }
}

template <class Out>
void run_rest(const Tables& tables, const Scratch& scratch, const Tile<Out>& tile) {
  const Group<Out>& group = tile.groups[tile.n_groups];
  V* const spectrum = reinterpret_cast<V*>(scratch.rest);
  Prefetch nothing(nullptr, 0);
  power_spectrum(tables, scratch.waveform - tile.skipped + group.column, spectrum, nothing);
  log_mel_rows<1, Out>(tables, spectrum, tile.needs, &group);
}

void to_half(const float* from, std::uint16_t* to, Index n) {
  Index i = 0;
#ifdef __F16C__
  for (; i + 8 <= n; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    __builtin_memcpy(to + i, &halves, sizeof halves);
  }
#endif
  for (; i < n; ++i) to[i] = narrow<Half>(from[i]).bits;
}

}  // namespace

extern const Kernel kernel;
const Kernel kernel{kLanes, run<float>, run<Real>, run_rest<float>, run_rest<Real>, to_half};

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
