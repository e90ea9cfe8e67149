// A vector whose new elements hold whatever the memory holds: for buffers that are filled at once, where zeros first would
// cost another walk through memory.
#pragma once

#include <memory>
#include <utility>
#include <vector>

namespace clinaug {

template <class T>
struct FreshAllocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = FreshAllocator<U>;
  };
  template <class U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    std::construct_at(at, std::forward<Args>(args)...);
  }
};

template <class T>
using Fresh = std::vector<T, FreshAllocator<T>>;

}  // namespace clinaug
