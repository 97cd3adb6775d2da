// The f32 multiply-add rate of this processor from registers alone: what kernels are measured against.
#pragma once

namespace tw::bench {

// FLOP/s of one thread with the instruction set in use: the median of short runs, measured now (about 40 ms).
double peak_flops();

// Time since construction. With one thread it is the thread's CPU time, which other programs do not disturb.
class Stopwatch {
 public:
  Stopwatch();
  double seconds() const;

 private:
  double begin_;
};

}  // namespace tw::bench
