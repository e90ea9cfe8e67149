// The memory a thread computes in, kept from call to call: fresh pages would cost more than a short clip.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

// Memory aligned to cache lines, so to any vector. Growing it forgets what it held.
class Aligned {
 public:
  std::byte* at_least(std::size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      data_.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64})));
      size_ = bytes;
    }
    return data_.get();
  }

 private:
  struct Delete {
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, Delete> data_;
  std::size_t size_ = 0;
};

struct Workspace {
  Aligned waveform, spectra, rest, rows, zeros, staged;
  std::vector<const void*> columns;
  Way needs[kLargestTile];
};

// Nobody waits for it: a process forked while another thread was inside would wait for ever.
class WorkspacePool {
 public:
  std::unique_ptr<Workspace> take() {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || idle_.empty()) return std::make_unique<Workspace>();
    std::unique_ptr<Workspace> workspace = std::move(idle_.back());
    idle_.pop_back();
    return workspace;
  }

  void give_back(std::unique_ptr<Workspace> workspace) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock) idle_.push_back(std::move(workspace));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace clinaug::lanes
