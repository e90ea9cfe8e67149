// What the plan hands to the kernels: plain tables, made once in double precision, alike for every instruction set but
// for the layout numbers that depend on its lanes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace clinaug::lanes {

using Index = std::ptrdiff_t;

inline constexpr Index kLargestTile = 64;
inline constexpr int kMaxPasses = 20;
inline constexpr int kMaxDirectLeaf = 128;  // leaves that are large primes, computed by the definition

// One decimation step: `radix` spectra of `length` points become one of radix * length.
struct Pass {
  int radix;
  Index length;
  const float* twiddles;  // (length - 1) / 2 bins of (radix - 1) pairs (c, t), see generate_codelets.py
};

// A real transform of `size` = leaf * radices points, its input read through offsets.
struct Transform {
  Index size;
  int leaf;
  const float* direct;  // tables of a leaf without a codelet, else null
  int n_passes;
  Pass passes[kMaxPasses];
};

// Where a transform's samples lie, and what they are multiplied by; in the order of the leaves.
struct Source {
  const int* offsets;
  const float* weights;
};

// What a size with large prime factors needs besides a transform of a longer, smooth size; see chirp.hpp.
struct Chirp {
  Source cosine;  // samples times window times chirp, its real and its imaginary part
  Source sine;
  Source natural;         // reads vectors that lie in natural order
  const float* spectrum;  // of the chirp: pairs (re, im)
};

// The mel filters, by segments between neighbouring filter centres: each bin falls in one filter and rises in the next.
struct Mel {
  int n_mels;
  const int* starts;      // n_mels + 2 entries: segment s holds the bins [starts[s], starts[s + 1])
  const float* slopes;    // pairs (falling, rising) of the bins from starts[0]
  float floor;
  float log_floor;        // scaled already
  float log_scale;
};

struct Tables {
  Index n_bins;
  bool magnitude;      // |X| instead of |X|^2
  Index rows;          // of the transposed waveform: sample t of frame f is at row t % rows, column f + t / rows
  Index lead;          // columns that a tile shares with the one before, rounded up to whole vectors
  Index tile;          // frames
  Index n_blocks;      // that the last pass joins
  Index block_stride;  // vectors between them
  Index work_size;     // vectors
  Transform transform;
  Source source;
  const Chirp* chirp;  // null where the transform's size is n_fft itself
  Mel mel;

  Index row_stride() const { return lead + tile; }
};

// Memory of one thread; all of it aligned to whole vectors.
struct Scratch {
  float* waveform;  // rows + 1 rows of row_stride(); the last one is zero
  float* spectrum;
  float* power;     // n_bins rows of tile
};

// One tile: up to `tile` frames of any clips.
struct Tile {
  const void* const* columns;  // starts of the new columns, `rows` samples each
  bool pcm;                    // samples are int16, not float
  Index n_columns;             // whole vectors; they end at column lead + tile if `continued`, else start at 0
  Index first_column;
  Index n_groups;              // vectors of frames to compute
  const char* prefetch;        // input of the next tile
  Index prefetch_bytes;
  float* out;                  // n_mels rows of n_groups * lanes frames
  Index out_stride;
};

// One instruction set.
struct Kernel {
  int lanes;
  void (*run)(const Tables& tables, const Scratch& scratch, const Tile& tile);
  void (*to_half)(const float* from, std::uint16_t* to, Index n);
};

}  // namespace clinaug::lanes
