// Direct convolution in f32: an implicit GEMM whose rows of A are found through pointers, one per tap and
// pixel.
#pragma once

#include "kernels/op/conv.h"

namespace tw::kernels {

// Where packed panels sit: [panel][tap][channel in][panel width], zero beyond the last column.
struct PanelLayout {
  int vectors = 1;  // panel width in vectors of the instruction set in use
  int64_t width = 0, panels = 0, columns = 0, channels = 0, taps = 0;
  int64_t elements() const { return panels * taps * channels * width; }
};
PanelLayout panel_layout(const ConvGeometry& g, ConvDirection direction);

void direct_pack(const ConvGeometry& g, ConvDirection direction, const View& w,
                 float* packed);  // w f32 or bf16
// Forward: from x to y. Data gradient: from dy to dx. Terms are f32 or null.
void direct_run(const ConvGeometry& g, ConvDirection direction, const float* from, const float* packed,
                const float* bias, const float* temb, const float* residual, float* to);
void direct_weight_gradient(const ConvGeometry& g, const float* x, const float* dy, float* dw);

}  // namespace tw::kernels
