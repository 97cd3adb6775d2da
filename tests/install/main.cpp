#include <cstdio>

#include "autograd/ops/activation.h"

int main() {
  const tw::Var x = tw::Var::leaf(tw::Tensor::full({3}, 1.0));
  const tw::Var y = tw::silu(x);
  tw::backward(y, tw::Tensor::full({3}, 1.0));
  std::printf("silu(1) = %.5f, silu'(1) = %.5f\n", y.value().to_vector()[0], x.grad().to_vector()[0]);
}
