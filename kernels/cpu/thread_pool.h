// The one thread pool of the process: static partition, one fork and one join per call.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace tw::kernels {

// A non-owning reference to a callable void(int64_t begin, int64_t end).
class RangeFunction {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, RangeFunction>>>
  RangeFunction(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, int64_t begin, int64_t end) {
          (*static_cast<std::remove_reference_t<F>*>(object))(begin, end);
        }) {}
  void operator()(int64_t begin, int64_t end) const { call_(object_, begin, end); }

 private:
  void* object_;
  void (*call_)(void*, int64_t, int64_t);
};

// Calls body(begin, end) for consecutive parts of [0, n), at most one part a thread and none smaller than
// `grain` (but for the last), and returns when all are done. Which thread gets which part depends on the
// thread count: a body must compute each item the same way wherever its part begins. An exception of a body
// is rethrown here. Calls from inside a body, or while another caller has the pool, run in the calling
// thread.
void parallel_for(int64_t n, int64_t grain, RangeFunction body);

// The number of threads used, the caller's included: TW_THREADS, else the number of processors this process
// may use.
int thread_count();
void set_thread_count(int count);  // takes effect at the next parallel_for; throws if count < 1

}  // namespace tw::kernels
