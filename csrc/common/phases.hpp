// Runs a kernel's phases on the CPU, for the tests: every thread of a block does a phase before any begins the next, and
// the end of that loop is the __syncthreads(). Shared memory keeps a record of who touched which word since the last
// barrier, so that a race or a read of something never written is an error here and not a rare wrong number on a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "common/banks.hpp"

namespace clinaug::phases {

class SharedMemory {
 public:
  // A record is kept of words of so many bytes: 2 where neighbouring halves of a bank's word may belong to two threads.
  explicit SharedMemory(std::size_t bytes, std::size_t word = 4)
      : word_size_(word), bytes_((bytes + word - 1) / word * word), words_(bytes_.size() / word) {}

  // Counts the accesses from now on.
  void count_in(Banks& banks) { banks_ = &banks; }

  void enter(int thread) {
    thread_ = thread;
    if (banks_ != nullptr) banks_->enter(thread);
  }
  void barrier() { ++phase_; }

  // A new block finds what another left: it may not read that.
  void forget() { words_.assign(words_.size(), Word{}), phase_ = 1; }

  void* read(std::size_t at, std::size_t size) {
    for (std::size_t w = first(at, size); w <= (at + size - 1) / word_size_; ++w) {
      Word& word = words_[w];
      if (word.write_phase == 0) complain(w, "reads what nobody wrote");
      if (word.write_phase == phase_ && word.writer != thread_) complain(w, "reads what another thread writes in the same phase");
      const bool another = word.read_phase == phase_ && word.reader != thread_;
      word.reader = another ? kSeveral : thread_;
      word.read_phase = phase_;
    }
    return bytes_.data() + at;
  }

  void* write(std::size_t at, std::size_t size) {
    for (std::size_t w = first(at, size); w <= (at + size - 1) / word_size_; ++w) {
      Word& word = words_[w];
      if (word.write_phase == phase_ && word.writer != thread_) complain(w, "writes what another thread writes in the same phase");
      if (word.read_phase == phase_ && word.reader != thread_) complain(w, "writes what another thread reads in the same phase");
      word.writer = thread_;
      word.write_phase = phase_;
    }
    return bytes_.data() + at;
  }

 private:
  std::size_t word_size_;
  static constexpr int kSeveral = -1;

  struct Word {
    std::int64_t write_phase = 0, read_phase = 0;  // 0: never
    int writer = 0, reader = 0;
  };

  std::size_t first(std::size_t at, std::size_t size) const {
    if (banks_ != nullptr) banks_->access(at, size);
    if (at + size > bytes_.size()) {
      throw std::out_of_range("thread " + std::to_string(thread_) + " in phase " + std::to_string(phase_) + " touches byte " +
                              std::to_string(at + size - 1) + " of " + std::to_string(bytes_.size()) + " of shared memory");
    }
    if (at % size != 0) {
      throw std::logic_error("shared memory: an access of " + std::to_string(size) + " bytes at " + std::to_string(at));
    }
    return at / word_size_;
  }

  [[noreturn]] void complain(std::size_t word, const char* what) const {
    throw std::logic_error("shared memory: thread " + std::to_string(thread_) + " in phase " + std::to_string(phase_) + " " + what +
                           ", word " + std::to_string(word));
  }

  std::vector<std::byte> bytes_;
  std::vector<Word> words_;
  Banks* banks_ = nullptr;
  std::int64_t phase_ = 1;
  int thread_ = 0;
};

// Stands for a pointer into shared memory; phases take either, as a template parameter.
template <class T>
class Cells {
 public:
  Cells(SharedMemory& memory, std::size_t byte_offset) : memory_(&memory), at_(byte_offset) {}

  class Cell {
   public:
    Cell(SharedMemory& memory, std::size_t at) : memory_(memory), at_(at) {}
    operator T() const {
      T value;
      std::memcpy(&value, memory_.read(at_, sizeof(T)), sizeof(T));
      return value;
    }
    Cell& operator=(const T& value) {
      std::memcpy(memory_.write(at_, sizeof(T)), &value, sizeof(T));
      return *this;
    }
    Cell& operator=(const Cell& other) { return *this = static_cast<T>(other); }
    Cell& operator+=(const T& value) { return *this = static_cast<T>(*this) + value; }

   private:
    SharedMemory& memory_;
    std::size_t at_;
  };

  template <class Index>
  Cell operator[](Index i) const {
    return {*memory_, at_ + static_cast<std::size_t>(i) * sizeof(T)};
  }
  // The same place in the memory of another block of the cluster.
  Cells in(SharedMemory& memory) const { return {memory, at_}; }

  // The same memory as cells of another type.
  template <class U>
  Cells<U> as() const {
    return {*memory_, at_};
  }
  Cells operator+(std::ptrdiff_t n) const { return {*memory_, at_ + n * sizeof(T)}; }

 private:
  static_assert(std::is_trivially_copyable_v<T>);
  SharedMemory* memory_;
  std::size_t at_;
};

// A part of a phase: `part(thread)` for every thread of the block.
template <class Part>
void each_thread(SharedMemory& memory, int threads, const Part& part) {
  for (int thread = 0; thread < threads; ++thread) {
    memory.enter(thread);
    part(thread);
  }
}

// One phase: the same, then the barrier.
template <class Phase>
void every_thread(SharedMemory& memory, int threads, const Phase& phase) {
  each_thread(memory, threads, phase);
  memory.barrier();
}

}  // namespace clinaug::phases
