#include "kernels/cpu/conv_reference.h"

#include <algorithm>

#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

// Calls f(input pixel, output pixel, tap) for every pair of pixels of one sample that the kernel joins.
template <class F>
void for_each_pair(const ConvGeometry& g, int64_t sample, F&& f) {
  int64_t o[3], t[3], q[3];
  for (int64_t pixel = 0; pixel < g.out_pixels(); ++pixel) {
    o[0] = pixel / (g.out[1] * g.out[2]), o[1] = pixel / g.out[2] % g.out[1], o[2] = pixel % g.out[2];
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      t[0] = tap / (g.kernel[1] * g.kernel[2]), t[1] = tap / g.kernel[2] % g.kernel[1],
      t[2] = tap % g.kernel[2];
      bool inside = true;
      for (int i = 0; i < 3; ++i) {
        q[i] = o[i] * g.stride[i] + t[i] * g.dilation[i] - g.pad[i];
        inside = inside && q[i] >= 0 && q[i] < g.in[i];
      }
      if (inside)
        f(((sample * g.in[0] + q[0]) * g.in[1] + q[1]) * g.in[2] + q[2], sample * g.out_pixels() + pixel,
          tap);
    }
  }
}

// The epilogue's terms, where every element of the result starts.
void initialise(double* to, int64_t sample, int64_t pixels, int64_t channels, const double* bias,
                const double* temb, const double* residual) {
  for (int64_t i = sample * pixels * channels; i < (sample + 1) * pixels * channels; ++i) {
    const int64_t c = i % channels;
    to[i] = (bias ? bias[c] : 0) + (temb ? temb[sample * channels + c] : 0) + (residual ? residual[i] : 0);
  }
}

}  // namespace

void reference_forward(const ConvGeometry& g, const double* x, const double* w, const double* bias,
                       const double* temb, const double* residual, double* y) {
  parallel_for(g.n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t sample = begin; sample < end; ++sample) {
      initialise(y, sample, g.out_pixels(), g.co, bias, temb, residual);
      for_each_pair(g, sample, [&](int64_t in, int64_t out, int64_t tap) {
        for (int64_t i = 0; i < g.ci; ++i)
          for (int64_t j = 0; j < g.co; ++j)
            y[out * g.co + j] += x[in * g.ci + i] * w[(tap * g.ci + i) * g.co + j];
      });
    }
  });
}

void reference_data_gradient(const ConvGeometry& g, const double* dy, const double* w, const double* bias,
                             const double* temb, const double* residual, double* dx) {
  parallel_for(g.n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t sample = begin; sample < end; ++sample) {
      initialise(dx, sample, g.in_pixels(), g.ci, bias, temb, residual);
      for_each_pair(g, sample, [&](int64_t in, int64_t out, int64_t tap) {
        for (int64_t i = 0; i < g.ci; ++i)
          for (int64_t j = 0; j < g.co; ++j)
            dx[in * g.ci + i] += dy[out * g.co + j] * w[(tap * g.ci + i) * g.co + j];
      });
    }
  });
}

void reference_weight_gradient(const ConvGeometry& g, const double* x, const double* dy, double* dw) {
  std::fill(dw, dw + g.taps() * g.ci * g.co, 0.0);
  for (int64_t sample = 0; sample < g.n; ++sample)
    for_each_pair(g, sample, [&](int64_t in, int64_t out, int64_t tap) {
      for (int64_t i = 0; i < g.ci; ++i)
        for (int64_t j = 0; j < g.co; ++j)
          dw[(tap * g.ci + i) * g.co + j] += x[in * g.ci + i] * dy[out * g.co + j];
    });
}

}  // namespace tw::kernels
