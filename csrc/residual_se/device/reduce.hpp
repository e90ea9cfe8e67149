// Sums over the threads of a block, in an order that depends on the shapes only.
//
// A Block is who runs: a CUDA block on the device, a loop over its threads in the tests. It has
//   threads                       a multiple of 32
//   each(f)                       f(thread) for every thread; no barrier
//   sync()                        the barrier
//   array<T>(offset)              what begins `offset` bytes into shared memory
//   load<N>(array, i), store<N>(array, i, pack)   N neighbours of it at once, a whole vector aligned
//   copy_in<N>(array, from, count, phase, vectors, arrival)   elements of global memory, `phase` of them after a boundary of N,
//                                 for the whole block; await_copy(arrival) is the barrier after which they are there
//   prefetch(array, count)        hints, once for the block, that so much global memory will be read
//   peer(array, rank)             the same array of another block of the cluster; read between the cluster's barrier, which lies
//                                 between two of the functions below, and release_peers(); await_peers() comes last
//   team_sums<Real>(items, team, f, g)   for every item the sum of f(thread, item) over the lanes of a team, at most 32, as a
//                                 butterfly of additions; then g(thread, item, sum) for each lane; no barrier
// Pointers are template parameters, because the tests hand over cells that keep a record of who touches them.
#pragma once


#include "common/host_device.hpp"
#include "residual_se/device/walk.hpp"

namespace clinaug::se {

// finish(o, sum of term(o, i) over i < terms(o)) for every output, by one thread; begins and ends without a barrier.
template <class Real, class Block, class Terms, class Term, class Finish>
CLINAUG_HOST_DEVICE void reduce(Block& block, int outputs, const Team team, const Terms& terms, const Term& term,
                                const Finish& finish) {
  block.template team_sums<Real>(
      outputs, team,
      [&](int thread, int o) {
        Real sum{0};
        const int count = terms(o);
        for (int i = team.lane(thread); i < count; i += team.lanes()) sum += term(o, i);
        return sum;
      },
      [&](int thread, int o, Real sum) {
        if (team.lane(thread) == 0) finish(o, sum);
      });
}

// finish(o, sum of at(i, o) over i < rows), o < outputs: neighbouring threads read neighbouring columns. parts: a cell a
// thread. Ends without a barrier.
template <class Real, class Block, class Parts, class At, class Finish>
CLINAUG_HOST_DEVICE void reduce_columns(Block& block, int outputs, int rows, Parts parts, const At& at, const Finish& finish) {
  constexpr int kMostLines = 16;  // one thread adds them up
  const Columns shape(block.threads, outputs, rows < kMostLines ? rows : kMostLines);
  block.each([&](int thread) {
    const int line = shape.line(thread);
    if (line >= shape.lines) return;
    for (int o = thread - line * shape.columns; o < outputs; o += shape.columns) {
      Real sum{0};
      for (int i = line; i < rows; i += shape.lines) sum += at(i, o);
      if (shape.lines == 1) {
        finish(o, sum);
      } else {
        parts[thread] = sum;  // where there is more than one line, all columns are here
      }
    }
  });
  if (shape.lines == 1) return;
  block.sync();
  block.each([&](int thread) {
    if (thread >= outputs) return;
    Real sum{0};
    for (int line = 0; line < shape.lines; ++line) sum += parts[line * shape.columns + thread];
    finish(thread, sum);
  });
}

}  // namespace clinaug::se
