// Convolutions of any kind in terms of the two matrix engines (cpu/isa/tap_gemm.h, cpu/isa/tap_outer.h).
//
// A convolution ties a fine grid (its input) to a coarse one (its output): coarse position p and tap t meet
// at fine position p * stride + t * dilation - pad. `gather` computes the coarse side from the fine one: the
// forward pass of a convolution and the data gradient of a transposed one. `scatter` computes the fine side
// from the coarse one: the data gradient of a convolution and the forward pass of a transposed one; fine
// positions of equal phase (position mod stride) are one matrix product each, with the taps that reach them.
#pragma once

#include "kernels/cpu/isa/tap_gemm.h"
#include "kernels/cpu/isa/tap_outer.h"
#include "tensor/view.h"

namespace tw::kernels {

struct ConvAxis {
  int64_t fine = 1, coarse = 1, kernel = 1, stride = 1, pad = 0, dilation = 1;
};

struct ConvGeometry {
  int64_t samples = 1;
  ConvAxis axes[3];  // depth, height, width

  int64_t taps() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
  bool pointwise() const;  // every coarse pixel is made of the fine pixel of the same position
};

// A pointwise convolution as one long row of pixels.
ConvGeometry flattened(const ConvGeometry& geometry);

enum class ConvDirection { gather, scatter };

struct ConvTerms {
  View bias, temb, residual;
};

// One pass: source (samples, fine or coarse extents, depth) -> output (samples, the other's extents,
// channels). Sizes are in floats.
struct ConvPass {
  ConvDirection direction = ConvDirection::gather;
  ConvGeometry geometry;
  int64_t depth = 1, channels = 1;
  PanelSource weight;
  bool dot = false;  // source and output are bf16, and so are the products (product_bf16.h)

  const char* dot_declines() const;  // why `dot` may not be set; null: it may
  int64_t packed_size() const;
  void pack(float* packed) const;
  int64_t workspace_size() const;
  void run(const View& source, const View& output, const ConvTerms& terms, const float* packed,
           float* workspace) const;

  // One product for every phase (position mod stride) of the output, without its pointers.
  int64_t phases() const;
  TapGemm product(int64_t phase) const;
  int64_t packed_size_of(const TapGemm& product) const;
};

// The engine alone, for products that are no convolution. `slots` threads at most share the rows.
int64_t packed_size(const TapGemm& product);
void pack_weights(const TapGemm& product, const PanelSource& weight, float* packed);
int64_t workspace_size(const TapGemm& product, int slots);
void run_product(const TapGemm& product, int slots, float* workspace);

// gradient (taps, i, j) and dense_sum are overwritten. A coarse-side operand is the dense one.
int64_t workspace_size(const TapOuter& product);
void run_outer(const TapOuter& product, float* workspace);
TapOuter outer_product(const ConvGeometry& geometry, const View& fine, const View& coarse);

// One pass and one weight gradient with their scratch memory, for ops without packed weights: f64 in plain
// loops, else on the engines. The gradient is (taps, i, j): i over the fine side's channels if fine_rows,
// else j.
int64_t pass_workspace_bytes(const ConvPass& pass);
void run_pass(const char* op, const ConvPass& pass, const View& source, const View& output,
              const ConvTerms& terms, const View& workspace);
int64_t outer_workspace_bytes(const ConvGeometry& geometry, int64_t fine_channels, int64_t coarse_channels,
                              bool fine_rows);
void run_outer(const char* op, const ConvGeometry& geometry, const View& fine, const View& coarse,
               bool fine_rows, const View& gradient, const View& workspace);

// The same in plain loops, sums in f64, for any dtype. weight: see PanelSource.
void reference_pass(const ConvPass& pass, const View& source, const View& output, const ConvTerms& terms);
void reference_outer(const ConvGeometry& geometry, const View& fine, const View& coarse, bool fine_rows,
                     const View& gradient);
void reference_sum(const View& dy, const View& sum);  // over all but the last dimension

}  // namespace tw::kernels
