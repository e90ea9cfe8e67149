// Splits a range of independent items over threads. Results never depend on the number of threads, because an item
// is always computed by the same instructions, whoever runs it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>

namespace clinaug {

// Runs `job` on the caller and on at most `helpers` other threads, and returns when all that began it are done. `job` must not
// throw. The others are those of the OpenMP that the process has, torch's say, or else some of our own that stand by from
// call to call; of these, one that wakes up after the caller is through never begins. Any number of threads may call; after
// a fork the child has helpers of its own.
void run_with_helpers(std::int64_t helpers, const std::function<void()>& job);

// Calls body(begin, end) on disjoint ranges that cover [0, items), on at most `threads` threads, the caller's among
// them. `grain` is the number of items below which another thread costs more than it saves. Rethrows the first error.
template <class Body>
void parallel_for(std::int64_t items, std::int64_t threads, std::int64_t grain, const Body& body) {
  const std::int64_t workers = std::clamp<std::int64_t>(items / std::max<std::int64_t>(grain, 1), 1, std::max<std::int64_t>(threads, 1));
  if (workers == 1) {
    if (items > 0) body(std::int64_t{0}, items);
    return;
  }
  // More ranges than threads: one that starts late or is disturbed takes fewer.
  const std::int64_t ranges = std::min(items, 16 * workers);
  std::atomic<std::int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  run_with_helpers(workers - 1, [&] {
    for (std::int64_t range = next++; range < ranges; range = next++) {
      try {
        body(items * range / ranges, items * (range + 1) / ranges);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
        next = ranges;
      }
    }
  });
  if (error) std::rethrow_exception(error);
}

}  // namespace clinaug
