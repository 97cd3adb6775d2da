// 2-D convolution (cross-correlation, as in every network library), channels last:
//   y(n, i, j, o) = sum_{a, b, c} x(n, i sh - pt + a dh, j sw - pl + b dw, c) w(a, b, c, o)
//                   + bias(o) + temb(n, o) + residual(n, i, j, o)
// with x zero outside of its extents. Three kernels: forward, data gradient, weight and bias gradient.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/view.h"

namespace tw::kernels {

struct Conv2dParams {
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;

  // Keeps the extents of the map: for an odd kernel of k x k, stride 1.
  static Conv2dParams same(int64_t k) {
    return {.pad_top = k / 2, .pad_bottom = k / 2, .pad_left = k / 2, .pad_right = k / 2};
  }
};

// Added to the result in this order; each may be absent.
struct Conv2dEpilogue {
  View bias;      // (co)
  View temb;      // (n, co): one number for all pixels of a sample's channel (time embedding)
  View residual;  // the shape of y
};

// (n, ho, wo, co) for x (n, h, w, ci) and w (kh, kw, ci, co). Throws Error naming "conv2d" when ranks or
// channels do not fit, when strides or dilations are below 1, pads negative, or the kernel does not fit into
// the padded map.
Shape conv2d_output_shape(const Conv2dParams& params, const Shape& x, const Shape& w);

// What an implementation is chosen by. A choice never depends on the number of samples: an image's bits are
// the same in every batch.
struct Conv2dProblem {
  Conv2dParams params;
  Shape x, w;
  DType dtype = DType::f32;  // of the activations
  bool temb = false;
  Device device = Device::cpu;  // on CUDA the backend has its own scratch memory
};

// Weights in the order that the chosen implementation of a pass reads, for callers that use the same weights
// again: this many bytes (0: it reads the weights as they are). They serve every problem of equal params and
// weight shape for which the same implementation is chosen, on the same instruction set.
// A call that is given them reads w's shape and dtype only, unless they are 0 bytes.
enum class Conv2dPass { forward, data_gradient };
int64_t conv2d_packed_bytes(const Conv2dProblem& problem, Conv2dPass pass);
void conv2d_pack_weights(const Conv2dProblem& problem, const View& w, Conv2dPass pass, const View& packed);

// Bytes of scratch memory for a call; without `packed` the weights are packed into it.
int64_t conv2d_forward_workspace_bytes(const Conv2dProblem& problem, bool packed = false);
int64_t conv2d_data_gradient_workspace_bytes(const Conv2dProblem& problem, bool packed = false);
int64_t conv2d_weight_gradient_workspace_bytes(const Conv2dProblem& problem);

// All contiguous on one device; on CUDA f16 too, and the workspace may be absent. x and y:
// one dtype of f32, bf16, f64. With f32 or bf16 the weight and the terms are f32 or bf16 each; with f64 all
// are f64. Sums are f32 (f64 with f64) in an order that depends on kernel, channels and map alone. y may be
// the residual; it must not overlap x. The workspace is u8.
void conv2d_forward(const Conv2dParams& params, const View& x, const View& w, const Conv2dEpilogue& terms,
                    const View& y, const View& workspace, const View& packed = {});

// dx(n, h, w, ci) = sum over the outputs that x reaches of dy w.
void conv2d_data_gradient(const Conv2dParams& params, const View& dy, const View& w, const View& dx,
                          const View& workspace, const View& packed = {});

// dw(a, b, c, o) = sum_{n, i, j} x(...) dy(n, i, j, o) and db(o) = sum dy; db may be absent. dw and db are
// f32 (f64 with f64) and are overwritten.
void conv2d_weight_gradient(const Conv2dParams& params, const View& x, const View& dy, const View& dw,
                            const View& db, const View& workspace);

// The implementations of a pass, best first; the entry points above run the first that applies. `declines`
// says why one does not apply (null: it does). TW_VERBOSE=1 prints who declined.
struct Conv2dImplementation {
  const char* name;
  const char* (*declines)(const Conv2dProblem&);
  int64_t (*packed_bytes)(const Conv2dProblem&);
  void (*pack)(const Conv2dProblem&, const View& w, void* packed);
  int64_t (*scratch_bytes)(const Conv2dProblem&);
  // forward: x -> y; data gradient: dy -> dx, without terms.
  void (*run)(const Conv2dProblem&, const View& source, const View& w, const Conv2dEpilogue&,
              const View& output, const void* packed, void* scratch);
};
struct Conv2dWeightGradient {
  const char* name;
  const char* (*declines)(const Conv2dProblem&);
  int64_t (*scratch_bytes)(const Conv2dProblem&);
  void (*run)(const Conv2dProblem&, const View& x, const View& dy, const View& dw, const View& db,
              void* scratch);
};
std::span<const Conv2dImplementation> conv2d_implementations(Conv2dPass pass);
std::span<const Conv2dWeightGradient> conv2d_weight_gradient_implementations();
const Conv2dImplementation& conv2d_implementation(const Conv2dProblem& problem, Conv2dPass pass);  // chosen

// Multiply-adds times two of any of the three passes, padded taps included.
double conv2d_flops(const Conv2dParams& params, const Shape& x, const Shape& w);

}  // namespace tw::kernels
