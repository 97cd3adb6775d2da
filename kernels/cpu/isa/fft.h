#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tw::kernels {

// forward, inverse: complex to complex. to_half: real to half a spectrum; from_half: back.
enum class FftKind { forward, inverse, to_half, from_half };

// Tables of a transform in place of `length` = radices[0] radices[1] ... numbers (kernels/cpu/fft_plan.h).
template <class T>
struct FftTables {
  int64_t length = 1;
  int levels = 0;
  const int* radices = nullptr;        // the outermost first
  const T* const* twiddles = nullptr;  // of a level of size r m: k < m times w^k, w^2k, ... w^(r-1)k
  const T* const* roots = nullptr;     // of an odd radix r: cos, then sin of 2 pi j / r
  const int32_t* position = nullptr;   // where element k is put before
  // Where the innermost butterflies have their numbers from: number j of butterfly b is element
  // source[b] + j length / r.
  const int32_t* source = nullptr;
};

// Tables of one line, of a transform of n complex numbers.
template <class T>
struct FftLine {
  int64_t n = 1;
  FftTables<T> in_place;        // of n, or of the longer convolution
  const T* chirp = nullptr;     // Bluestein: e^(-pi i k^2 / n), k < n; null where n has small factors
  const T* spectrum = nullptr;  // and the transform of its conjugate, divided by its length
  const T* halves = nullptr;    // real lines of 2 n: e^(-pi i k / n), k <= n; null for odd ones
};

// Transforms along one axis of x (outer, length, inner): y has the same outer and inner.
struct FftPass {
  FftKind kind = FftKind::forward;
  DType dtype = DType::f32;
  int64_t outer = 1, length = 1, inner = 1;  // length: of the real line for the two halves
  int64_t shift = 0;                         // element k lies at (k + shift) mod length
  double scale = 1, pair = 1;
  const void* x = nullptr;
  void* y = nullptr;
  const void* line = nullptr;  // FftLine<float> or <double>
};

// A pass is cut into `groups`, each as many lines as a register has lanes (or whole rows of channels).
struct FftKernels {
  int64_t (*groups)(const FftPass& pass);
  int64_t (*scratch_bytes)(const FftPass& pass);  // a multiple of 64
  void (*run)(const FftPass& pass, void* scratch, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
