#include "common/parallel.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <list>
#include <system_error>
#include <thread>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

namespace clinaug {
namespace {

// To wake a sleeping thread takes some fifty microseconds, more in a virtual machine, and calls often come in quick
// succession: whoever waits looks on for that long before it sleeps, and lets others run between two looks.
template <class Ready>
void look_on(const Ready& ready) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(1000);
  while (!ready() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

// A thread costs as much to start as a small batch to compute: helpers wait for the next call.
class Team {
 public:
  void run(std::int64_t helpers, const std::function<void()>& job) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (n_threads_ < helpers && start_thread()) ++n_threads_;
    posts_.emplace_back(&job, helpers);
    const auto post = std::prev(posts_.end());
    places_ += helpers;
    lock.unlock();
    for (std::int64_t i = 0; i < helpers; ++i) wake_.notify_one();
    job();
    lock.lock();
    places_ -= post->places;
    post->places = 0;
    lock.unlock();
    look_on([&] { return post->running == 0; });
    lock.lock();
    done_.wait(lock, [&] { return post->running == 0; });
    posts_.erase(post);
  }

 private:
  struct Post {
    const std::function<void()>* const job;
    std::int64_t places;                   // for helpers that have not come yet
    std::atomic<std::int64_t> running{0};  // helpers

    Post(const std::function<void()>* j, std::int64_t n) : job(j), places(n) {}
  };

  // False where there are no more threads to be had; those that there are do what is left.
  bool start_thread() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the interpreter's threads
    bool started = true;
    try {
      std::thread([this] { help(); }).detach();
    } catch (const std::system_error&) {
      started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      const auto post = std::find_if(posts_.begin(), posts_.end(), [](const Post& p) { return p.places > 0; });
      if (post == posts_.end()) {
        lock.unlock();
        look_on([&] { return places_ > 0; });
        lock.lock();
        wake_.wait(lock, [&] { return places_ > 0; });
        continue;
      }
      --places_;
      --post->places;
      ++post->running;
      lock.unlock();
      (*post->job)();
      lock.lock();
      if (--post->running == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::list<Post> posts_;
  std::atomic<std::int64_t> places_{0};  // of all posts
  std::int64_t n_threads_ = 0;
};

// Never destroyed: helpers may be waiting in it when the process ends.
std::atomic<Team*> team{nullptr};

// A child of fork inherits no threads, but perhaps a locked mutex, and the OpenMP that its parent used never wakes again.
std::atomic<bool> forked{false};

Team& the_team() {
  static std::once_flag once;
  std::call_once(once, [] { team = new Team; });
  return *team;
}

// The entry into a parallel region of GNU's OpenMP, which LLVM's and Intel's have too; null where none is loaded for all to
// see. Torch brings one, and its threads look out for work for milliseconds after each of torch's own operations: helpers of
// ours would share the processors with them.
using OpenMp = void (*)(void (*)(void*), void*, unsigned, unsigned);

OpenMp open_mp() {
  static std::atomic<OpenMp> found{nullptr};
  if (found == nullptr) found = reinterpret_cast<OpenMp>(::dlsym(RTLD_DEFAULT, "GOMP_parallel"));  // may come later
  return forked ? nullptr : found.load();
}

// From the moment that this library is loaded: OpenMP's threads may have been used, by torch, long before ours.
[[maybe_unused]] const int watches_forks = pthread_atfork(nullptr, nullptr, [] {
  forked = true;
  if (team != nullptr) team = new Team;
});

// How this thread rounds and takes denormal numbers, and what of it tells what has happened, not how to go on.
#if defined(__SSE__)
constexpr unsigned kHappened = 0x3f;
unsigned rounding() { return _mm_getcsr(); }
void round_as(unsigned how) { _mm_setcsr(how); }
#elif defined(__aarch64__)
constexpr std::uint64_t kHappened = 0;
std::uint64_t rounding() {
  std::uint64_t how;
  asm volatile("mrs %0, fpcr" : "=r"(how));
  return how;
}
void round_as(std::uint64_t how) { asm volatile("msr fpcr, %0" : : "r"(how)); }
#else
constexpr unsigned kHappened = 0;
unsigned rounding() { return 0; }
void round_as(unsigned) {}
#endif

// A job that rounds, and takes denormal numbers, as the thread does that makes it, whoever runs it:
// torch.set_flush_denormal sets them for one thread alone.
std::function<void()> rounding_as_here(const std::function<void()>& job) {
  return [&job, here = rounding() & ~kHappened] {
    const auto before = rounding();
    round_as(here);
    job();
    round_as(before);
  };
}

}  // namespace

void run_with_helpers(std::int64_t helpers, const std::function<void()>& job) {
  if (helpers < 1) return job();
  std::function<void()> alike = rounding_as_here(job);
  if (const OpenMp parallel = open_mp()) {
    const auto call = [](void* data) { (*static_cast<const std::function<void()>*>(data))(); };
    parallel(call, &alike, static_cast<unsigned>(helpers + 1), 0);
  } else {
    the_team().run(helpers, alike);
  }
}

}  // namespace clinaug
