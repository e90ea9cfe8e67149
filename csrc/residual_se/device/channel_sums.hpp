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
  CLINAUG_HOST_DEVICE auto load(std::int64_t i) {
    return source.template load<kCount>(i);
  }

  template <int kCount, class Fetched>
  CLINAUG_HOST_DEVICE void use(std::int64_t i, const Fetched& fetched) {
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
  with_team(g, [&](const Team team) {
    block.template team_sums<Real>(
        slice.runs(g), team,
        [&](int thread, int item) {
          const Run run = slice.run(g, item);
          Summing<Real, Source> summing{source};
          walk<kVector, Source::kLoads>(run.begin, run.end, slice.phase, g.vectors, team.lane(thread), team.lanes(), summing);
          return summing.sum;
        },
        [&](int thread, int item, Real sum) {
          if (team.lane(thread) != 0) return;
          if (g.chunks == 1) {
            finish(item, sum);
          } else {
            parts[item] = sum;
          }
        });
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

template <class Real, int kCount, class Source>
struct SummingColumns {
  Source& source;
  Real sums[kCount] = {};

  template <int>
  CLINAUG_HOST_DEVICE auto load(std::int64_t i) {
    return source.template load<kCount>(i);
  }

  template <int, class Fetched>
  CLINAUG_HOST_DEVICE void use(std::int64_t i, const Fetched& fetched) {
    Real terms[kCount];
    source.template terms<kCount>(i, fetched, terms);
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) sums[k] += terms[k];
  }
};

// Rows are pixels: a thread keeps to kCount neighbouring channels.
template <class Real, int kCount, class Block, class Source, class Parts, class Finish>
CLINAUG_HOST_DEVICE void sum_pixels(Block& block, const Geometry& g, const Slice& slice, Source& source, Parts parts,
                                    const Finish& finish) {
  const int channels = slice.channels, all = channels / kCount;
  const Columns shape(block.threads, all, g.by_row.quotient(slice.length));
  for (int base = 0; base < all; base += shape.columns) {
    if (base > 0) block.sync();  // parts are read below
    block.each([&](int thread) {
      const int line = shape.line(thread), column = base + thread - line * shape.columns;
      if (line >= shape.lines || column >= all) return;
      SummingColumns<Real, kCount, Source> summing{source};
      stride<kCount, Source::kLoads>(line * channels + column * kCount, shape.lines * channels, slice.length, summing);
      CLINAUG_UNROLL
      for (int k = 0; k < kCount; ++k) parts[thread * kCount + k] = summing.sums[k];
    });
    block.sync();
    const int here = (all - base < shape.columns ? all - base : shape.columns) * kCount, wide = shape.columns * kCount;
    block.each([&](int thread) {
      for (int c = thread; c < here; c += block.threads) {
        Real sum{0};
        for (int line = 0; line < shape.lines; ++line) sum += parts[line * wide + c];
        finish(base * kCount + c, sum);
      }
    });
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
