// What a processor can do at most, measured now: multiply-adds from registers alone, and bytes copied
// between buffers of a given size. Kernels are judged against it: roofline(op) = max(flops / peak,
// bytes / bandwidth).
#pragma once

#include <vector>

#include "tensor/dtype.h"

namespace tw::kernels {

// f32 FLOP/s of one thread with the instruction set in use: the median of short runs (about 40 ms).
double peak_flops();

struct MachineRates {
  struct Level {
    double bytes_per_thread;  // of the working set, source and destination together
    double bytes_per_second;  // read plus written, all threads
  };
  int threads = 1;            // 0: a CUDA device (kernels/op/device_rates.h)
  double flops = 0;           // f32 FLOP/s, all threads at once
  std::vector<Level> levels;  // from a set that fits the first cache to one that fits none
  double flops_16bit = 0;     // of bf16 and f16; 0: judged as f32

  double bandwidth(double bytes) const;  // of an op that moves `bytes`
  // The roofline: no kernel is faster.
  double least_seconds(double work, double bytes, DType dtype = DType::f32) const;
};

// Takes about 0.3 s and 64 MiB a thread.
MachineRates measure_machine_rates();

}  // namespace tw::kernels
