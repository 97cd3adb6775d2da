// The f32 multiply-add rate of this processor from registers alone, and the clock that kernels are timed by.
#pragma once

#include "kernels/cpu/machine_rates.h"

namespace tw::bench {

using kernels::peak_flops;  // FLOP/s of one thread

// Time since construction. With one thread it is the thread's CPU time, which other programs do not disturb.
class Stopwatch {
 public:
  Stopwatch();
  double seconds() const;

 private:
  double begin_;
};

}  // namespace tw::bench
