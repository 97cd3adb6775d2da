// Broadcasting arithmetic: y = a op b, with the numpy rule for shapes.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

enum class Binary { add, sub, mul, div };
const char* binary_name(Binary kind);

// a, b: any strides, one dtype among f32, f64 and bf16 (computed in f32). y: contiguous, of the shape that a
// and b broadcast to and their dtype. y may be a or b when that one has y's shape and is contiguous.
void binary(Binary kind, const View& a, const View& b, const View& y);

}  // namespace tw::kernels
