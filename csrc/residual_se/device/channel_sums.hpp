// The first half of both kernels: what each channel's elements of a slice add up to, for any Source of a number an element
// (sources.hpp), in the same order whoever the source is.
#pragma once

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"
#include "residual_se/device/geometry.hpp"
#include "residual_se/device/reduce.hpp"
#include "residual_se/device/walk.hpp"

namespace clinaug::se {

// How many cells of Real `parts` has, here and in reduce_columns(). Channels are cut in chunks only while teams are left.
inline std::int64_t parts_size(const Geometry& g, int threads, int vector) {
  return static_cast<std::int64_t>(threads) * (g.channels_last ? vector : 1);
}

namespace detail {

template <class Real, class Source>
struct Summing {
  Source& source;
  Real sum{0};

  template <int kCount>
  CLINAUG_HOST_DEVICE auto load(int i) {
    return source.template load<kCount>(i);
  }

  template <int kCount, class Fetched>
  CLINAUG_HOST_DEVICE void use(int i, const Fetched& fetched) {
    Real terms[kCount];
    source.template terms<kCount>(i, fetched, terms);
    CLINAUG_UNROLL
    for (int step = 1; step < kCount; step *= 2) {
      CLINAUG_UNROLL
      for (int k = 0; k + step < kCount; k += 2 * step) terms[k] += terms[k + step];
    }
    sum += terms[0];
  }
};

// Rows are channels: teams of lanes take chunks of them.
template <class Real, int kVector, class Block, class Source, class Parts, class Finish>
CLINAUG_HOST_DEVICE void sum_planes(Block& block, const Geometry& g, const Slice& slice, Source& source, Parts parts,
                                    const Finish& finish) {
  const int teams = block.threads / g.team, items = slice.channels * g.chunks;
  block.template team_sums<Real>(
      (items + teams - 1) / teams, g.team,
      [&](int thread, int round) {
        const int item = round * teams + thread / g.team;
        Summing<Real, Source> summing{source};
        if (item < items) {
          const int c = item / g.chunks;
          const std::int64_t begin = slice.channel_begin(g, c) + (item % g.chunks) * g.chunk;
          const std::int64_t last = slice.channel_end(g, c), end = begin + g.chunk < last ? begin + g.chunk : last;
          if (begin < end) {
            walk<kVector, Source::kLoads>(static_cast<int>(begin), static_cast<int>(end), slice.phase, g.vectors, thread % g.team,
                                          g.team, summing);
          }
        }
        return summing.sum;
      },
      [&](int thread, int round, Real sum) {
        const int item = round * teams + thread / g.team;
        if (thread % g.team != 0 || item >= items) return;
        if (g.chunks == 1) {
          finish(item, sum);
        } else {
          parts[item] = sum;
        }
      });
  if (g.chunks == 1) return;
  block.sync();
  block.each([&](int thread) {
    for (int c = thread; c < slice.channels; c += block.threads) {
      Real sum{0};
      for (int k = 0; k < g.chunks; ++k) sum += parts[c * g.chunks + k];
      finish(c, sum);
    }
  });
}

// Rows are pixels: a thread keeps to kCount neighbouring channels.
template <class Real, int kCount, class Block, class Source, class Parts, class Finish>
CLINAUG_HOST_DEVICE void sum_pixels(Block& block, const Geometry& g, const Slice& slice, Source& source, Parts parts,
                                    const Finish& finish) {
  const int channels = slice.channels, pixels = g.by_row.quotient(slice.length), all = channels / kCount;
  const Columns shape(block.threads, all, pixels);
  for (int base = 0; base < all; base += shape.columns) {
    if (base > 0) block.sync();  // parts are read below
    block.each([&](int thread) {
      const int line = thread / shape.columns, column = base + thread % shape.columns;
      if (line >= shape.lines || column >= all) return;
      Real sums[kCount] = {};
      for (int pixel = line; pixel < pixels; pixel += Source::kLoads * shape.lines) {
        decltype(source.template load<kCount>(0)) fetched[Source::kLoads];
        CLINAUG_UNROLL
        for (int k = 0; k < Source::kLoads; ++k) {
          const int at = pixel + k * shape.lines;
          if (at < pixels) fetched[k] = source.template load<kCount>(at * channels + column * kCount);
        }
        CLINAUG_UNROLL
        for (int k = 0; k < Source::kLoads; ++k) {
          const int at = pixel + k * shape.lines;
          if (at >= pixels) continue;
          Real terms[kCount];
          source.template terms<kCount>(at * channels + column * kCount, fetched[k], terms);
          CLINAUG_UNROLL
          for (int n = 0; n < kCount; ++n) sums[n] += terms[n];
        }
      }
      CLINAUG_UNROLL
      for (int n = 0; n < kCount; ++n) parts[(line * shape.columns + thread % shape.columns) * kCount + n] = sums[n];
    });
    block.sync();
    const int here = (all - base < shape.columns ? all - base : shape.columns) * kCount;
    reduce<Real>(
        block, here, team_for(block.threads, here, shape.lines), [&](std::int64_t) { return shape.lines; },
        [&](std::int64_t c, std::int64_t line) -> Real { return parts[line * shape.columns * kCount + c]; },
        [&](std::int64_t c, Real sum) { finish(base * kCount + static_cast<int>(c), sum); });
  }
}

}  // namespace detail

// finish(c, sum) for every channel that the slice touches, by one thread each. Ends without a barrier.
template <class Real, int kVector, class Block, class Source, class Parts, class Finish>
CLINAUG_HOST_DEVICE void sum_channels(Block& block, const Geometry& g, const Slice& slice, Source& source, Parts parts,
                                      const Finish& finish) {
  if (!g.channels_last) {
    detail::sum_planes<Real, kVector>(block, g, slice, source, parts, finish);
  } else if (slice.whole_vectors) {
    detail::sum_pixels<Real, kVector>(block, g, slice, source, parts, finish);
  } else {
    detail::sum_pixels<Real, 1>(block, g, slice, source, parts, finish);
  }
}

}  // namespace clinaug::se
