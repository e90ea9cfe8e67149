// Counts what a GPU's shared memory makes of the accesses of a phase: 32 banks of 4 bytes, and a warp's access goes out in as
// many wavefronts as the fullest bank has words. Of 8 bytes a half of the warp is served at once, of 16 bytes a quarter.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

namespace clinaug::phases {

struct Wavefronts {
  std::int64_t taken = 0, least = 0;  // least: if the same words lay in as many banks as there are
};

// The lanes of a warp are taken to do their n-th access together, as they do where they take the same branches.
class Banks {
 public:
  void enter(int thread) { thread_ = thread, nth_ = 0; }

  void access(std::size_t at, std::size_t size) { warps_[{thread_ / kLanes, nth_++, size}].push_back({thread_ % kLanes, at / kBytes}); }

  // Of the phase that ends here.
  Wavefronts close() {
    Wavefronts all;
    for (const auto& [which, lanes] : warps_) {
      const std::size_t size = std::get<2>(which), words = size < kBytes ? 1 : size / kBytes;
      const int at_once = static_cast<int>(kLanes / words);
      for (int first = 0; first < kLanes; first += at_once) {
        std::array<std::set<std::size_t>, kLanes> banks;
        std::int64_t touched = 0, fullest = 0;
        for (const auto& [lane, word] : lanes) {
          if (lane < first || lane >= first + at_once) continue;
          for (std::size_t w = word; w < word + words; ++w) touched += banks[w % kLanes].insert(w).second;
        }
        for (const auto& bank : banks) fullest = std::max(fullest, static_cast<std::int64_t>(bank.size()));
        all.taken += fullest;
        all.least += (touched + kLanes - 1) / kLanes;
      }
    }
    warps_.clear();
    return all;
  }

 private:
  static constexpr int kLanes = 32;  // as many as there are banks
  static constexpr std::size_t kBytes = 4;

  struct Touch {
    int lane;
    std::size_t word;
  };

  int thread_ = 0, nth_ = 0;
  std::map<std::tuple<int, int, std::size_t>, std::vector<Touch>> warps_;  // by warp, access and its size
};

}  // namespace clinaug::phases
