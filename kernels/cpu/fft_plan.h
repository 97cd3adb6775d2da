// Tables for transforms along one axis, computed in f64 and kept for the life of the process: one set for
// each length and dtype that was ever asked for (256: 6 KiB in f32).
#pragma once

#include "kernels/cpu/isa/fft.h"

namespace tw::kernels {

// For complex lines of `length`, or real ones. Thread-safe.
template <class T>
const FftLine<T>& fft_line(int64_t length, bool real);

// fft_line<float> or <double>, as FftPass wants it.
const void* fft_line(int64_t length, bool real, DType dtype);

}  // namespace tw::kernels
