// The operations of Vec<T> for single numbers, so that a formula of kernels/math/ reads the same for both.
#pragma once

#include <cmath>

#include "kernels/math/host_device.h"

namespace tw::kernels::math {

template <class T>
TW_HD T select(bool condition, T yes, T no) {
  return condition ? yes : no;
}
// When `a` is NaN the result is NaN.
TW_HD float max(float a, float b) { return a < b ? b : a; }
TW_HD float min(float a, float b) { return a > b ? b : a; }
TW_HD double max(double a, double b) { return a < b ? b : a; }
TW_HD double min(double a, double b) { return a > b ? b : a; }
TW_HD float fma(float a, float b, float c) { return a * b + c; }
TW_HD double fma(double a, double b, double c) { return a * b + c; }
TW_HD float reciprocal(float a) { return 1 / a; }
TW_HD double reciprocal(double a) { return 1 / a; }

using std::abs;
using std::erf;
using std::exp;
using std::log;
using std::log1p;
using std::sqrt;
using std::tanh;

}  // namespace tw::kernels::math
