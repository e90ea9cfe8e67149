// How a GPU block transforms its frames, by n_fft: the factors of the transform and every index map that follows.
//
// A frame of n_fft = rows * inner real samples is laid out as a matrix x[n1][n2], n = n2 + inner * n1.
//   rows:    for each n2, a real DFT over n1 gives the bins k1 = 0 .. rows / 2, times W_n_fft^(n2 k1);
//   columns: for each k1, a complex DFT over n2 gives the bins k = k1 + rows * k2 of the frame.
// The columns above rows / 2 are conjugates: with k comes n_fft - k, so nothing is computed for them and no spectrum of
// complex numbers has to be taken apart. The columns 0 and rows / 2 hold their own conjugates and are real before their
// twiddles: together they are the bins of 2 * inner real numbers, and so one more column ("packed"). That leaves rows / 2
// columns, a power of two or close to it, for the threads of a block to share evenly.
// One pass through shared memory does it, where a complex FFT of even and odd samples needs one more to split them.
// Where inner is large a column is itself inner = middle * last: two butterflies with a barrier between them. There the two
// columns stay apart, because the numbers that would take them apart lie in several threads.
#pragma once

#include <cstdint>
#include <numeric>

#include "common/host_device.hpp"

namespace clinaug::device {

// rows * middle * last = n_fft. A block of `threads` holds `frames`, a power of two; a thread takes `together` rows at once,
// to share a load of window and twiddles, and walks the mel bands of `abreast` frames at once, to share the loads of
// weights; `blocks` of them are meant to live on a multiprocessor.
template <int n_fft>
struct Factors;
template <int rows_, int middle_, int last_, int threads_, int frames_, int together_, int abreast_, int blocks_>
struct Are {
  static constexpr int rows = rows_, middle = middle_, last = last_;
  static constexpr int threads = threads_, frames = frames_, together = together_, abreast = abreast_, blocks = blocks_;
};
template <> struct Factors<64> : Are<16, 1, 4, 128, 64, 2, 4, 8> {};
template <> struct Factors<128> : Are<16, 1, 8, 128, 32, 2, 4, 7> {};
template <> struct Factors<256> : Are<16, 1, 16, 128, 16, 2, 4, 8> {};
template <> struct Factors<400> : Are<20, 1, 20, 320, 32, 2, 4, 3> {};
template <> struct Factors<480> : Are<30, 1, 16, 256, 16, 1, 2, 4> {};
template <> struct Factors<512> : Are<16, 1, 32, 128, 16, 2, 4, 5> {};
template <> struct Factors<640> : Are<32, 1, 20, 320, 16, 1, 2, 3> {};
template <> struct Factors<960> : Are<30, 1, 32, 256, 16, 1, 2, 3> {};
template <> struct Factors<1024> : Are<32, 1, 32, 128, 8, 2, 2, 5> {};
template <> struct Factors<1200> : Are<40, 1, 30, 256, 8, 1, 4, 3> {};
template <> struct Factors<2048> : Are<64, 1, 32, 256, 8, 1, 4, 2> {};
template <> struct Factors<4096> : Are<32, 8, 16, 288, 2, 1, 2, 4> {};
template <> struct Factors<8192> : Are<32, 16, 16, 288, 1, 1, 1, 4> {};
template <> struct Factors<16384> : Are<32, 16, 32, 288, 1, 1, 1, 3> {};

#define CLINAUG_LOG_MEL_SIZES(X) \
  X(64) X(128) X(256) X(400) X(480) X(512) X(640) X(960) X(1024) X(1200) X(2048) X(4096) X(8192) X(16384)

struct alignas(8) Complex32 {
  float re, im;
};

// A band as a team of threads has it: its bins from `begin` on, `steps` times four for each thread. Bin begin + (4 * step + q) *
// split + part is weighed by number q of the `weights`-th vector of four, + step * split + part; bins that are no more of
// the band weigh nothing.
struct alignas(16) Band {
  std::int32_t begin, steps, weights;
  std::int32_t band;  // -1: none, the team has nothing to do
};

// A number of each of n frames, moved at once.
template <int n>
struct alignas(4 * n) Abreast {
  float of[n];
};

template <int n_fft_>
struct Size : Factors<n_fft_> {
  using F = Factors<n_fft_>;
  static constexpr int n_fft = n_fft_;
  static constexpr int n_bins = n_fft / 2 + 1;
  static constexpr int inner = F::middle * F::last;
  static constexpr bool packed = F::middle == 1;
  static constexpr int columns = F::rows / 2 + (packed ? 0 : 1);  // of a frame
  static_assert(F::rows * inner == n_fft && F::rows % 2 == 0 && F::last % 2 == 0);
  static_assert(F::threads % 32 == 0 && F::frames <= F::threads);

  // ---- rows: thread -> (n2, n2 + row_threads, ...; frames j, j + row_step, ...) ----
  static constexpr int row_threads = F::threads < inner ? F::threads : inner;  // of a frame
  static constexpr int row_step = F::threads / row_threads;                    // frames that one round of rows covers
  static_assert(F::frames % (row_step * F::together) == 0);

  // ---- exchange: value n2 = m2 + last * part of column k1 of frame j; shared memory has 16 banks for a complex number. The
  // lanes of a warp write along n2, from one frame on into the next: so a frame begins at the bank after the last of the frame
  // before. They read the same n2 of all frames, which `skew` moves to as many banks, or, where the frames are fewer than 16, of
  // several columns or parts: gaps make these fall into different banks, or where there is no room for gaps (8 frames),
  // neighbours change places in every other column. ----
  static constexpr int gap = F::frames < 8 ? F::frames : 0;  // after each part
  static constexpr int parted = inner + gap * F::middle;
  static constexpr int column_stride = gap == 0 ? parted : parted + (gap + 16 - parted % 16) % 16;
  static constexpr int frame_cells = columns * column_stride;
  static constexpr int frame_step = F::frames == 8 && inner % 16 == 0 ? 2 : inner % 16;  // modulo the banks
  static constexpr int frame_stride = frame_cells + (frame_step + 16 - frame_cells % 16) % 16;
  static constexpr int skewed = F::frames == 8 ? 8 : 16 / std::gcd(inner, 16);  // so many frames come before a bank recurs
  CLINAUG_HOST_DEVICE static constexpr int cell(int j, int k1, int part, int m2) {
    const int turned = F::frames != 8 ? 0 : m2 % 2 == 0 ? k1 % 2 : -(k1 % 2);
    return j * frame_stride + j / skewed + k1 * column_stride + part * (F::last + gap) + m2 + turned;
  }
  static constexpr int cells = F::frames * frame_stride + (F::frames - 1) / skewed;
  static_assert(F::frames >= 8 || F::frames <= 2);
  static_assert(!packed || (gap == 0 && column_stride == inner));  // the 2 * inner reals of column 0 lie side by side

  // ---- power: the frames of a bin side by side. Those that a thread reads abreast are neighbours there, but `lanes` apart
  // in time, so that the lanes of a warp write neighbouring frames of the log-mel. ----
  static constexpr int lanes = F::frames / F::abreast;
  static_assert((F::frames & (F::frames - 1)) == 0 && F::frames % F::abreast == 0 && lanes <= 32);
  CLINAUG_HOST_DEVICE static constexpr int power_cell(int bin, int j) {
    return bin * F::frames + j % lanes * F::abreast + j / lanes;
  }

  // ---- columns: thread -> (part, column, frame) ----
  static constexpr int column_tasks = F::frames * columns * F::middle;
  static constexpr bool in_place = column_tasks <= F::threads;  // powers lie where the cells were

  // ---- shared memory, in bytes ----
  static constexpr int cell_bytes = (cells * static_cast<int>(sizeof(Complex32)) + 15) / 16 * 16;
  static constexpr int power_bytes = F::frames * n_bins * 4;
  static constexpr int cells_at = 0, powers_at = in_place ? 0 : cell_bytes;
  static constexpr int shared_bytes = powers_at + (in_place && cell_bytes > power_bytes ? cell_bytes : power_bytes);
  static_assert(shared_bytes <= 99 * 1024, "the smallest limit of the architectures that we compile for");
};

// Twiddles w^e, e = 0 .. count: those below `base` and the multiples of `base` are in a table, the others are products of
// two: a product is cheaper than a load from shared memory or L1.
template <int base_, int count_>
struct Powers {
  static constexpr int base = base_, count = count_;
  CLINAUG_HOST_DEVICE static constexpr bool tabulated(int e) { return e < base || e % base == 0; }
  CLINAUG_HOST_DEVICE static constexpr int slot(int e) { return e < base ? e - 1 : base - 2 + e / base; }
  static constexpr int slots = count < base ? count : base - 1 + count / base;
};
template <class S> using RowPowers = Powers<4, S::columns - 1>;   // W_n_fft^(n2 k1), tabled for each n2
template <class S> using MiddlePowers = Powers<4, S::middle - 1>;  // W_inner^(m2 ka), tabled for each m2

// Calls f with an integral constant for the n_fft that has a kernel; false where it has none.
template <class Function>
bool with_size(std::int64_t n_fft, Function f) {
  switch (n_fft) {
#define CLINAUG_CASE(n) \
  case n: f(Size<n>{}); return true;
    CLINAUG_LOG_MEL_SIZES(CLINAUG_CASE)
#undef CLINAUG_CASE
    default: return false;
  }
}

}  // namespace clinaug::device
