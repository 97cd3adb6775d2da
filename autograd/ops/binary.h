// Broadcasting arithmetic: y = a op b with the numpy rule; a gradient is summed back to its operand's shape.
//
// f32, f64 or bf16, both of one dtype; throws otherwise, or when the shapes do not broadcast. add and sub
// save nothing; mul and div save an operand only where the other one's gradient needs it.
#pragma once

#include "autograd/var.h"

namespace tw {

Var add(const Var& a, const Var& b);
Var sub(const Var& a, const Var& b);
Var mul(const Var& a, const Var& b);
Var div(const Var& a, const Var& b);

inline Var operator+(const Var& a, const Var& b) { return add(a, b); }
inline Var operator-(const Var& a, const Var& b) { return sub(a, b); }
inline Var operator*(const Var& a, const Var& b) { return mul(a, b); }
inline Var operator/(const Var& a, const Var& b) { return div(a, b); }

// g summed over the dimensions in which `shape` was broadcast to g's shape.
Tensor sum_to(const Tensor& g, const Shape& shape);

}  // namespace tw
