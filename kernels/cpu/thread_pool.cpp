#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "tensor/error.h"

namespace tw::kernels {
namespace {

// Workers spin this many times for the next job before they sleep: about 20 us, the gap between two ops of a
// network.
constexpr int spins_before_sleep = 2000;

thread_local bool inside_pool = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int processors_allowed() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

int initial_thread_count() {
  const char* text = std::getenv("TW_THREADS");
  if (!text) return processors_allowed();
  char* end = nullptr;
  const long count = std::strtol(text, &end, 10);
  check(*text && !*end && count >= 1 && count <= 1024, "TW_THREADS",
        "expected a whole number from 1 to 1024, found '", text, "'");
  return static_cast<int>(count);
}

class ThreadPool {
 public:
  explicit ThreadPool(int count) : count_(count) {}
  ~ThreadPool() { stop_workers(); }

  int count() const { return count_.load(std::memory_order_relaxed); }
  void set_count(int count) {
    std::lock_guard lock(caller_mutex_);
    if (count == this->count()) return;
    stop_workers();
    count_ = count;
  }

  void run(int64_t n, int64_t parts, RangeFunction body) {
    std::unique_lock caller(caller_mutex_, std::try_to_lock);
    if (!caller || count() == 1) {
      body(0, n);
      return;
    }
    if (workers_.empty()) start_workers();
    job_ = {n, parts, &body};
    error_ = nullptr;
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      std::lock_guard lock(sleep_mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    run_part(0);
    while (pending_.load(std::memory_order_acquire) != 0) {
      for (int i = 0; i < spins_before_sleep && pending_.load(std::memory_order_acquire) != 0; ++i) relax();
      if (pending_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Job {
    int64_t n = 0, parts = 0;
    const RangeFunction* body = nullptr;
  };

  void run_part(int64_t part) {
    if (part >= job_.parts) return;
    inside_pool = true;
    try {
      (*job_.body)(job_.n * part / job_.parts, job_.n * (part + 1) / job_.parts);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_pool = false;
  }

  void worker(int index, uint64_t seen) {
    for (;;) {
      for (int i = 0; i < spins_before_sleep && generation_.load(std::memory_order_acquire) == seen; ++i)
        relax();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(sleep_mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_acquire)) return;
      run_part(index);
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  void start_workers() {
    stopping_ = false;
    const uint64_t seen = generation_.load();
    for (int i = 1; i < count(); ++i) workers_.emplace_back([this, i, seen] { worker(i, seen); });
  }

  void stop_workers() {
    {
      std::lock_guard lock(sleep_mutex_);
      stopping_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& thread : workers_) thread.join();
    workers_.clear();
  }

  std::atomic<int> count_;
  std::mutex caller_mutex_;
  std::vector<std::thread> workers_;
  Job job_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> pending_{0};
  std::atomic<bool> stopping_{false};
  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

ThreadPool& pool() {
  static ThreadPool instance(initial_thread_count());
  return instance;
}

}  // namespace

void parallel_for(int64_t n, int64_t grain, RangeFunction body) {
  if (n <= 0) return;
  const int64_t most = std::max<int64_t>(1, n / std::max<int64_t>(1, grain));
  if (inside_pool || most == 1) {
    body(0, n);
    return;
  }
  const int64_t parts = std::min<int64_t>(most, pool().count());
  if (parts == 1)
    body(0, n);
  else
    pool().run(n, parts, body);
}

int thread_count() { return pool().count(); }

void set_thread_count(int count) {
  check(count >= 1 && count <= 1024, "set_thread_count", "expected 1 to 1024 threads, found ", count);
  pool().set_count(count);
}

}  // namespace tw::kernels
