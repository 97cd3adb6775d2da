// Elementwise functions of one tensor: any shape; f32, f64 or bf16. Each saves x, or y where its derivative
// is simplest in y (exp, sqrt), or nothing (neg, scale, add_scalar).
#pragma once

#include "autograd/var.h"
#include "kernels/op/unary.h"

namespace tw {

Var unary(const Var& x, const kernels::UnaryParams& params);

inline Var scale(const Var& x, double factor) { return unary(x, {.a = factor}); }
inline Var add_scalar(const Var& x, double term) { return unary(x, {.b = term}); }
inline Var neg(const Var& x) { return unary(x, {.a = -1}); }
inline Var exp(const Var& x) { return unary(x, {.kind = kernels::Unary::exp}); }
inline Var log(const Var& x) { return unary(x, {.kind = kernels::Unary::log}); }
inline Var sqrt(const Var& x) { return unary(x, {.kind = kernels::Unary::sqrt}); }
inline Var square(const Var& x) { return unary(x, {.kind = kernels::Unary::square}); }
inline Var abs(const Var& x) { return unary(x, {.kind = kernels::Unary::abs}); }
inline Var clamp(const Var& x, double low, double high) {
  return unary(x, {.kind = kernels::Unary::clamp, .a = low, .b = high});
}

inline Var operator-(const Var& x) { return neg(x); }
inline Var operator+(const Var& x, double term) { return add_scalar(x, term); }
inline Var operator+(double term, const Var& x) { return add_scalar(x, term); }
inline Var operator-(const Var& x, double term) { return add_scalar(x, -term); }
inline Var operator-(double term, const Var& x) { return unary(x, {.a = -1, .b = term}); }
inline Var operator*(const Var& x, double factor) { return scale(x, factor); }
inline Var operator*(double factor, const Var& x) { return scale(x, factor); }
inline Var operator/(const Var& x, double divisor) { return scale(x, 1 / divisor); }

}  // namespace tw
