// Convolution in f64 by plain loops: the path of gradient checks, and an oracle.
#pragma once

#include "kernels/op/conv.h"

namespace tw::kernels {

void reference_forward(const ConvGeometry& g, const double* x, const double* w, const double* bias,
                       const double* temb, const double* residual, double* y);
void reference_data_gradient(const ConvGeometry& g, const double* dy, const double* w, const double* bias,
                             const double* temb, const double* residual, double* dx);
void reference_weight_gradient(const ConvGeometry& g, const double* x, const double* dy, double* dw);

}  // namespace tw::kernels
