// Splits a range of independent items over threads. Results never depend on the number of threads, because an item
// is always computed by the same instructions, whoever runs it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace clinaug {

// Calls body(begin, end) on disjoint ranges that cover [0, items), on at most `threads` threads, the caller's among
// them. `grain` is the number of items below which another thread costs more than it saves. Rethrows the first error.
template <class Body>
void parallel_for(std::int64_t items, std::int64_t threads, std::int64_t grain, const Body& body) {
  const std::int64_t workers = std::clamp<std::int64_t>(items / std::max<std::int64_t>(grain, 1), 1, std::max<std::int64_t>(threads, 1));
  if (workers == 1) {
    if (items > 0) body(std::int64_t{0}, items);
    return;
  }
  std::vector<std::exception_ptr> errors(workers);
  const auto run = [&](std::int64_t worker) {
    try {
      body(items * worker / workers, items * (worker + 1) / workers);
    } catch (...) {
      errors[worker] = std::current_exception();
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(workers - 1);
  std::int64_t started = 1;
  for (; started < workers; ++started) {
    try {
      pool.emplace_back(run, started);
    } catch (const std::system_error&) {  // no more threads to be had: the caller does what is left
      break;
    }
  }
  for (std::int64_t worker = started; worker < workers; ++worker) run(worker);
  run(0);
  for (std::thread& thread : pool) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace clinaug
