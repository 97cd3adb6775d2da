// What the lists of implementations in kernels/op/conv2d.h are made of: one file an algorithm.
#pragma once

#include "kernels/cpu/convolution.h"
#include "kernels/op/conv2d.h"

namespace tw::kernels {

ConvGeometry geometry_of(const Conv2dProblem& problem);

// cpu/conv2d_direct.cpp: the matrix engines of cpu/convolution.h, f32 and bf16, and the definition in plain
// loops.
extern const Conv2dImplementation conv2d_bf16_dot[2], conv2d_pointwise[2], conv2d_direct[2],
    conv2d_reference[2];  // by Conv2dPass
extern const Conv2dWeightGradient conv2d_bf16_dot_weight_gradient, conv2d_pointwise_weight_gradient,
    conv2d_direct_weight_gradient, conv2d_reference_weight_gradient;

// cpu/conv2d_thin.cpp: few output channels of a pass, or a weight gradient of few channels of y.
extern const Conv2dImplementation conv2d_thin[2];
extern const Conv2dWeightGradient conv2d_thin_weight_gradient;

// cpu/conv2d_winograd.cpp
extern const Conv2dImplementation conv2d_winograd[2];
extern const Conv2dWeightGradient conv2d_winograd_weight_gradient;

}  // namespace tw::kernels
