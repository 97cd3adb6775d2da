// Plans of cuFFT for transforms over h and w of images whose channels are last.
//
// That is cuFFT's advanced layout: the numbers of a channel lie c apart. A batch has one distance, so one
// launch takes the channels of an image (1 apart) or one channel of all images (an image apart): whichever
// gives fewer launches. Small real images are moved to planes (n, c, h, w) instead, for three launches in
// all. libcufft.so.12 is loaded at first use; plans are kept for each shape, their work areas are scratch
// memory. Everything throws tw::Error with the failed call.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tw::cuda {

enum class FourierKind { complex, to_half, from_half };

struct Fourier {
  FourierKind kind = FourierKind::complex;
  bool inverse = false;  // of complex
  DType dtype = DType::f32;
  int64_t n = 0, h = 0, w = 0, c = 0;  // of the images
};

// Queues it, unscaled. y may be x if complex. from_half may destroy x, and takes columns that stand for
// themselves to have the symmetry of a real image's.
void fourier(const char* op, const Fourier& transform, void* x, void* y);

}  // namespace tw::cuda
