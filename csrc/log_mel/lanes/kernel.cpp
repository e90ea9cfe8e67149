// The frames-in-lanes log-mel kernel of one instruction set; compiled once for each, see vector.hpp.
//
// A tile of frames goes through three steps: the waveform is transposed so that sample t of neighbouring frames lies in
// neighbouring floats (each sample is moved once, however much the frames overlap), every group of kLanes frames is
// transformed into a power spectrum, and the power spectra of the tile become rows of log-mel.
#include "log_mel/lanes/chirp.hpp"
#include "log_mel/lanes/mel.hpp"
#include "log_mel/lanes/transform.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {
namespace {

float sample(float value) { return value; }
float sample(std::int16_t value) { return static_cast<float>(value) * (1.0f / 32768.0f); }

// out[u * stride + j] = columns[j][u] for u < rows, j < kLanes.
template <class Sample>
void transpose_columns(const Sample* const* columns, Index rows, float* out, Index stride) {
  if (rows < kLanes) {
    for (Index u = 0; u < rows; ++u) {
      for (int j = 0; j < kLanes; ++j) out[u * stride + j] = sample(columns[j][u]);
    }
    return;
  }
  for (Index u = 0; u + kLanes <= rows; u += kLanes) transpose_block(columns, u, out + u * stride, stride);
  const Index rest = rows - kLanes;  // the last block overlaps the one before, so as not to read past a column
  if (rows % kLanes != 0) transpose_block(columns, rest, out + rest * stride, stride);
}

template <class Sample>
void transpose(const Tables& tables, const Tile& tile, float* waveform) {
  const auto columns = reinterpret_cast<const Sample* const*>(tile.columns);
  for (Index j = 0; j < tile.n_columns; j += kLanes) {
    transpose_columns(columns + j, tables.rows, waveform + tile.first_column + j, tables.row_stride());
  }
}

// The last columns of the tile before become the first of this one.
void carry_columns(const Tables& tables, float* waveform) {
  for (Index u = 0; u < tables.rows; ++u) {
    float* row = waveform + u * tables.row_stride();
    for (Index j = 0; j < tables.lead; j += kLanes) store(row + j, load(row + tables.tile + j));
  }
}

void run(const Tables& tables, const Scratch& scratch, const Tile& tile) {
  if (tile.first_column != 0) carry_columns(tables, scratch.waveform);
  tile.pcm ? transpose<std::int16_t>(tables, tile, scratch.waveform) : transpose<float>(tables, tile, scratch.waveform);
  const auto transform = tables.chirp ? chirp_power_spectrum : power_spectrum;
  Prefetch prefetch{tile.prefetch, tile.prefetch_bytes / (tile.n_groups * tables.n_blocks)};
  for (Index g = 0; g < tile.n_groups; ++g) {
    transform(tables, scratch.waveform + g * kLanes, reinterpret_cast<V*>(scratch.spectrum),
              reinterpret_cast<V*>(scratch.power) + g, tables.tile / kLanes, prefetch);
  }
  log_mel_rows(tables, scratch.power, tile.n_groups, tile.out, tile.out_stride);
}

void to_half(const float* from, std::uint16_t* to, Index n) {
  for (Index i = 0; i < n; ++i) {
    const _Float16 half = static_cast<_Float16>(from[i]);
    __builtin_memcpy(to + i, &half, sizeof half);
  }
}

}  // namespace

extern const Kernel kernel;
const Kernel kernel{kLanes, run, to_half};

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
