// What the plan hands to the kernels: plain tables, made once in double precision, alike for every instruction set but
// for the layout numbers that depend on its lanes. Real is the precision of a kernel, float or double.
#pragma once

#include <cstddef>
#include <cstdint>

namespace clinaug::lanes {

using Index = std::ptrdiff_t;

inline constexpr Index kLargestTile = 128, kFewestLanes = 4;
inline constexpr Index kScattered = 16;  // frames from anywhere that are computed together, whole vectors of any set
inline constexpr Index kLineBytes = 64, kPageBytes = 4096;
inline constexpr int kMaxPasses = 20;
inline constexpr int kMaxDirectLeaf = 128;  // leaves that are large primes, computed by the definition

// How far apart `n` blocks of `length` vectors lie. Not a power of two, as they would fight for the same cache sets; nor so that
// what the last pass stores in one block lies whole pages from what it loads next from another, as the processor then takes
// the one for the other. Alike for all sets, as it decides in which order bins are added: a page is a multiple of kPage.
constexpr Index apart(Index length, Index n) {
  constexpr Index kPage = kPageBytes / kLineBytes;
  for (Index stride = length + 1;; ++stride) {
    bool clash = false;
    for (Index blocks = 1; blocks < n; ++blocks) clash |= blocks * stride % kPage == 1 || blocks * stride % kPage == kPage - 1;
    if (!clash) return stride;
  }
}

enum class Sample { pcm16, single, full };  // int16, float, double

// One decimation step: `radix` spectra of `length` points become one of radix * length.
template <class Real>
struct Pass {
  int radix;
  Index length;
  const Real* twiddles;  // (length - 1) / 2 bins of (radix - 1) pairs (c, t), see generate_codelets.py
};

// A real transform of `size` = leaf * radices points, its input read through offsets.
template <class Real>
struct Transform {
  Index size;
  int leaf;
  const Real* direct;  // tables of a leaf without a codelet, else null
  int n_passes;
  Pass<Real> passes[kMaxPasses];
};

// Where a transform's samples lie, and what they are multiplied by; in the order of the leaves. With `before`, they are
//     weight * (sample - sample before) + carried * sample before,
// a windowed waveform with pre-emphasis: small differences of large samples, without the rounding of large products.
template <class Real>
struct Source {
  const int* offsets;
  const Real* weights;
  const int* before;  // or null
  const Real* carried;
  bool quarters;  // the samples j and j + leaf / 4 of each leaf lie in neighbouring columns: hop_length is n_fft / 4
};

// What a size with large prime factors needs besides a transform of a longer, smooth size; see chirp.hpp.
template <class Real>
struct Chirp {
  Source<Real> cosine;  // samples times window times chirp, its real and its imaginary part
  Source<Real> sine;
  Source<Real> natural;         // reads vectors that lie in natural order
  const Real* spectrum;  // of the chirp: pairs (re, im)
};

// The mel filters, by segments between neighbouring filter centres: each bin falls in one filter and rises in the next.
template <class Real>
struct Mel {
  int n_mels;
  const int* starts;      // n_mels + 2 entries: segment s holds the slots [starts[s], starts[s + 1])
  const Real* slopes;     // pairs (falling, rising) of the slots from starts[0]; zeros for a slot without a bin
  Real floor;
  Real log_floor;         // scaled already
  Real log_scale;
};

// When single precision will not do: rounding spreads a noise over the spectrum, some 2^-24 of the frame's own amplitude,
// and a band that is not far above that noise comes out wrong. A frame is doubtful where
//     noise * power > level of some band,  level = inverse_width * band, or of `quiet` for a band below half the floor,
// which ends as the floor unless the noise comes near it. The power, of the frame as it is transformed, is the sum of what lies
// between the centres of bands, by bands, and of the bins below and above.
template <class Real>
struct Doubt {
  const Real* shares;          // of n_mels: what a band adds to the power, so that a bin between centres counts once
  const Real* inverse_widths;  // of n_mels: 1 / sum of the band's weights, and less where its bins are few
  Real quiet;
};

// How a frame is computed: in single precision, in single precision with pre-emphasis, or in double precision.
enum class Way : std::int32_t { plain, emphasised, full };

template <class Real>
struct Tables {
  Index n_slots;       // of a power spectrum: bin k lies in slot k / block_length * block_stride + k % block_length
  bool magnitude;      // |X| instead of |X|^2
  Index rows;          // of the transposed waveform: sample t of frame f is in row t % rows, column f + t / rows
  Index lanes;         // of the kernel
  Index row_gap;       // after so many rows, which keeps those that a leaf reads from lying whole pages apart
  Index carry;         // columns that a frame reaches beyond its first, and a tile shares with the one before
  Index lead;          // the same, rounded up to whole vectors
  Index tile;          // frames
  Index prefetch_steps; // of a group, see Prefetch: its blocks and, where there is a last pass, the butterflies that join them
  Index block_length;
  Index block_stride;  // vectors between them; those that belong to no block are zero
  Index spectrum_size; // vectors in which a group is transformed
  Index together;      // groups whose spectra become log-mel at once, sharing the mel weights: 1 or 2
  Transform<Real> transform;
  const int* targets;  // of a last pass without twiddles, see TransformPlan; else null
  Source<Real> source;
  const Chirp<Real>* chirp;  // null where the transform's size is n_fft itself
  Mel<Real> mel;
  Index inner_begin, inner_end;  // the slots between the first and the last centre of a band
  Real noise;
  Doubt<Real> doubt;
  const Real* reliefs;           // of n_mels: how many times lower a single band of a frame may lie
  Doubt<Real> emphasised;        // of the same frames with pre-emphasis,
  const Real* gains;             // of n_slots: which multiplies a bin's power by so much

  Index row_stride() const { return lead + tile; }

  // Where a row begins.
  Index row(Index u) const { return u * row_stride() + u / lanes * row_gap; }
};

// Memory of one thread; all of it aligned to whole vectors.
template <class Real>
struct Scratch {
  Real* waveform;  // rows + 1 rows; the last one is zero; with `lead` numbers before them
  Real* spectra;   // `together` times spectrum_size vectors
  Real* rest;      // spectrum_size vectors of half as many lanes
};

// As many frames as a kernel has lanes: their first column in the tile, and where their log-mels go, n_mels rows.
template <class Out>
struct Group {
  Index column;
  Out* first;
  Index stride;
};

// One tile: up to `tile` frames of any clips. Out: float or Real.
template <class Real, class Out>
struct Tile {
  const void* const* columns;  // starts of the new columns, `rows` samples each
  Sample sample;
  Index n_columns;             // whole vectors; they end at column lead + tile where first_column is not 0
  Index first_column;
  Index skipped;               // so many columns, which no frame reads, are not there at the begin
  const char* prefetch;        // input of the next tile
  Index prefetch_bytes;
  Index n_groups;              // of the kernel's lanes
  bool has_rest;               // one more follows, for a kernel of half as many, which hold all frames that are left
  Group<Out> groups[kLargestTile / kFewestLanes];
  Way* needs;                  // by column, of the groups: `plain`, or the first of the other ways that will do
};

// One instruction set. rest_*: a tile's rest, whose waveform lies transposed already, for any kernel that rounds alike.
template <class Real>
struct Kernel {
  int lanes;
  void (*to_single)(const Tables<Real>& tables, const Scratch<Real>& scratch, const Tile<Real, float>& tile);
  void (*to_real)(const Tables<Real>& tables, const Scratch<Real>& scratch, const Tile<Real, Real>& tile);
  void (*rest_to_single)(const Tables<Real>& tables, const Scratch<Real>& scratch, const Tile<Real, float>& tile);
  void (*rest_to_real)(const Tables<Real>& tables, const Scratch<Real>& scratch, const Tile<Real, Real>& tile);
  void (*to_half)(const float* from, std::uint16_t* to, Index n);
};

}  // namespace clinaug::lanes
