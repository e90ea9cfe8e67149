// How threads go over the elements of a slice: 16 bytes at a time where that may be, the rest one by one.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"
#include "residual_se/device/geometry.hpp"

namespace clinaug::se {

// `step` has load<N>(i), which fetches what N elements from i need, and use<N>(i, fetched). Several loads are under way before
// the first is used. From i on, every `apart` elements.
template <int kCount, int kBatch, class Step>
CLINAUG_HOST_DEVICE void stride(int i, int apart, int end, Step& step) {
  decltype(step.template load<kCount>(0)) fetched[kBatch];
  for (; end - i > (kBatch - 1) * apart; i += kBatch * apart) {
    const std::int64_t at = i;  // wide, so that constant distances from it become part of the instructions
    CLINAUG_UNROLL
    for (int k = 0; k < kBatch; ++k) fetched[k] = step.template load<kCount>(at + k * apart);
    CLINAUG_UNROLL
    for (int k = 0; k < kBatch; ++k) step.template use<kCount>(at + k * apart, fetched[k]);
  }
  if constexpr (kBatch > 1) {
    if (i >= end) return;
    CLINAUG_UNROLL
    for (int k = 0; k < kBatch - 1; ++k) {
      if (end - i > k * apart) fetched[k] = step.template load<kCount>(i + k * apart);
    }
    CLINAUG_UNROLL
    for (int k = 0; k < kBatch - 1; ++k) {
      if (end - i > k * apart) step.template use<kCount>(i + k * apart, fetched[k]);
    }
  }
}

// What of [begin, end) are whole vectors, in a slice that begins `phase` elements after a 16-byte boundary.
struct Body {
  int begin, end;
};

template <int kVector>
CLINAUG_HOST_DEVICE Body body_of(int begin, int end, int phase) {
  const int ahead = -(phase + begin) & (kVector - 1);
  const int body = ahead < end - begin ? begin + ahead : end;
  return {body, body + ((end - body) & ~(kVector - 1))};
}

// Elements [begin, end) of such a slice; `vectors`: whether 16 bytes may be moved at once.
template <int kVector, int kBatch, class Step>
CLINAUG_HOST_DEVICE void walk(int begin, int end, int phase, bool vectors, int lane, int lanes, Step& step) {
  if (!vectors) {
    stride<1, 2>(begin + lane, lanes, end, step);
    return;
  }
  const Body body = body_of<kVector>(begin, end, phase);
  stride<1, 1>(begin + lane, lanes, body.begin, step);
  stride<kVector, kBatch>(body.begin + lane * kVector, lanes * kVector, body.end, step);
  stride<1, 1>(body.end + lane, lanes, end, step);
}

// f(team) for "planes": the team of nearly all shapes is a constant, and so are the distances within it.
template <class F>
CLINAUG_HOST_DEVICE void with_team(const Geometry& g, const F& f) {
  constexpr int kUsual = 3;
  if (g.team.log == kUsual) {
    f(Team{kUsual});
  } else {
    f(g.team);
  }
}

// As much of a matrix's columns as the threads of a block take at once: a row of threads a line of the matrix.
struct Columns {
  int columns, lines;  // threads / columns, at least 1; threads beyond columns * lines rest

  CLINAUG_HOST_DEVICE Columns(int threads, int all, int rows) {
    columns = all < 1 ? 1 : all < threads ? all : threads;
    lines = quotient(threads, columns);
    if (lines > rows) lines = rows > 0 ? rows : 1;
  }

  CLINAUG_HOST_DEVICE int line(int thread) const { return quotient(thread, columns); }

  // Of what is never negative, which is cheaper.
  CLINAUG_HOST_DEVICE static int quotient(int n, int by) {
    return static_cast<int>(static_cast<unsigned>(n) / static_cast<unsigned>(by));
  }
};

// Whose numbers a thread needs for the elements that it visits next: a channel's, those of a vector's channels, those of any.
enum class Reach { channel, channels, any };

template <Reach kReach, class Real, int kVector, class Array>
struct PerChannel {
  const Geometry& g;
  Array of_channel;
  Real values[kReach == Reach::channels ? kVector : 1] = {};

  CLINAUG_HOST_DEVICE void enter(int c) {
    if constexpr (kReach != Reach::any) {
      CLINAUG_UNROLL
      for (int k = 0; k < static_cast<int>(sizeof values / sizeof(Real)); ++k) values[k] = of_channel[c + k];
    }
  }

  // Of element i + k.
  CLINAUG_HOST_DEVICE Real at(std::int64_t i, int k) const {
    if constexpr (kReach == Reach::channel) return values[0];
    if constexpr (kReach == Reach::channels) return values[k];
    if constexpr (kReach == Reach::any) return of_channel[g.by_row.remainder(static_cast<int>(i) + k)];
  }
};

// All elements of a slice by the threads of a block. make<Reach>() is a thread's step, whose enter(c) names the channel of what
// follows, the first of them where there are several.
template <int kVector, int kBatch, class Block, class Make>
CLINAUG_HOST_DEVICE void visit(Block& block, const Geometry& g, const Slice& slice, const Make& make) {
  if (!g.channels_last) {
    with_team(g, [&](const Team team) {
      block.each([&](int thread) {
        auto step = make.template operator()<Reach::channel>();
        for (int item = team.of(thread); item < slice.runs(g); item += team.of(block.threads)) {
          const Run run = slice.run(g, item);
          step.enter(run.channel);
          walk<kVector, kBatch>(run.begin, run.end, slice.phase, g.vectors, team.lane(thread), team.lanes(), step);
        }
      });
    });
  } else if (slice.whole_vectors) {
    const int all = g.channels / kVector;
    const Columns shape(block.threads, all, g.by_row.quotient(slice.length));
    block.each([&](int thread) {
      auto step = make.template operator()<Reach::channels>();
      const int line = shape.line(thread), apart = shape.lines * g.channels;
      if (line >= shape.lines) return;
      for (int column = thread - line * shape.columns; column < all; column += shape.columns) {
        step.enter(column * kVector);
        stride<kVector, kBatch>(line * g.channels + column * kVector, apart, slice.length, step);
      }
    });
  } else {
    block.each([&](int thread) {
      auto step = make.template operator()<Reach::any>();
      walk<kVector, 1>(0, slice.length, slice.phase, g.vectors, thread, block.threads, step);
    });
  }
}

}  // namespace clinaug::se
