// Sums over the threads of a block, in an order that depends on the shapes only.
//
// A Block is who runs: a CUDA block on the device, a loop over its threads in the tests. It has
//   threads                       a multiple of 32
//   each(f)                       f(thread) for every thread; no barrier
//   sync()                        the barrier
//   array<T>(offset)              what begins `offset` bytes into shared memory
//   load<N>(array, i), store<N>(array, i, pack)   N neighbours of it at once, a whole vector aligned
//   copy_in<N>(array, i, from)    the same from global memory, complete after copies_done() and sync()
//   prefetch(array, count)        hints, once for the block, that so much global memory will be read
//   peer(array, rank)             the same array of another block of the cluster; read between the cluster's barrier, which lies
//                                 between two of the functions below, and release_peers(); await_peers() comes last
//   team_sums<Real>(rounds, lanes, f, g)   for every round the sum of f(thread, round) over each `lanes` neighbours, a power of
//                                 two up to 32, as a butterfly of additions; then g(thread, round, sum); no barrier
// Pointers are template parameters, because the tests hand over cells that keep a record of who touches them.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace clinaug::se {

// The largest power of two up to 32 with which `outputs` teams fit into the block, or that has a lane for each term.
CLINAUG_HOST_DEVICE int team_for(int threads, std::int64_t outputs, std::int64_t terms) {
  int lanes = 1;
  while (lanes < 32 && lanes < terms && 2 * lanes * outputs <= threads) lanes *= 2;
  return lanes;
}

// finish(o, sum of term(o, i) over i < terms(o)) for every output, by one thread; begins and ends without a barrier.
template <class Real, class Block, class Terms, class Term, class Finish>
CLINAUG_HOST_DEVICE void reduce(Block& block, std::int64_t outputs, int lanes, const Terms& terms, const Term& term,
                                const Finish& finish) {
  const int teams = block.threads / lanes;
  block.template team_sums<Real>(
      static_cast<int>((outputs + teams - 1) / teams), lanes,
      [&](int thread, int round) {
        const std::int64_t o = static_cast<std::int64_t>(round) * teams + thread / lanes;
        Real sum{0};
        if (o < outputs) {
          const std::int64_t count = terms(o);
          for (std::int64_t i = thread % lanes; i < count; i += lanes) sum += term(o, i);
        }
        return sum;
      },
      [&](int thread, int round, Real sum) {
        const std::int64_t o = static_cast<std::int64_t>(round) * teams + thread / lanes;
        if (thread % lanes == 0 && o < outputs) finish(o, sum);
      });
}

// As much of a matrix's columns as the threads of a block take at once: a row of threads a line of the matrix. Then
// reduce() adds the lines' parts.
struct Columns {
  int columns, lines;  // threads / columns, at least 1; threads beyond columns * lines rest

  CLINAUG_HOST_DEVICE Columns(int threads, std::int64_t all, std::int64_t rows) {
    columns = static_cast<int>(all < 1 ? 1 : all < threads ? all : threads);
    lines = threads / columns;
    if (lines > rows) lines = rows > 0 ? static_cast<int>(rows) : 1;
  }
};

// finish(o, sum of at(i, o) over i < rows), o < outputs: neighbouring threads read neighbouring columns. parts: a cell a
// thread. Ends without a barrier.
template <class Real, class Block, class Parts, class At, class Finish>
CLINAUG_HOST_DEVICE void reduce_columns(Block& block, std::int64_t outputs, std::int64_t rows, Parts parts, const At& at,
                                        const Finish& finish) {
  const Columns shape(block.threads, outputs, rows);
  for (std::int64_t base = 0; base < outputs; base += shape.columns) {
    block.each([&](int thread) {
      const int line = thread / shape.columns;
      const std::int64_t o = base + thread % shape.columns;
      if (line >= shape.lines || o >= outputs) return;
      Real sum{0};
      for (std::int64_t i = line; i < rows; i += shape.lines) sum += at(i, o);
      if (shape.lines == 1) {
        finish(o, sum);
      } else {
        parts[thread] = sum;
      }
    });
    if (shape.lines == 1) continue;  // where there is more than one line, all columns are here
    block.sync();
    reduce<Real>(
        block, outputs, team_for(block.threads, outputs, shape.lines), [&](std::int64_t) { return shape.lines; },
        [&](std::int64_t o, std::int64_t line) -> Real { return parts[line * shape.columns + o]; },
        finish);
  }
}

}  // namespace clinaug::se
