// Samples from a U-Net with DDIM (Song et al. 2021, eq. 12 with eta = 0), the sampler written out by hand.
#include <cmath>
#include <cstdio>

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"
#include "diffusion/schedule.h"
#include "nn/unet/unet.h"
#include "tensor/random.h"

int main() {
  using tw::clamp, tw::operator-, tw::operator+, tw::operator*;
  const tw::UNet net(tw::unet_preset("tiny"), /*seed=*/0);  // untrained: load weights to see more than noise
  const tw::Schedule schedule;
  const tw::NoGrad no_grad;

  const std::vector<uint64_t> seeds{0, 1, 2, 3};  // one a picture: the same picture in any batch
  tw::Var x = tw::random_normal({32, 32, 3}, seeds, /*step=*/0, tw::Purpose::start);
  const int64_t stride = 100;
  for (int64_t t = 900; t >= 0; t -= stride) {
    const double alpha_bar = schedule.alpha_bar(t),
                 previous = t < stride ? 1 : schedule.alpha_bar(t - stride);
    const tw::Var eps = net.forward(x, tw::Tensor::full({4}, static_cast<double>(t)));
    const tw::Var x0 = clamp((x - eps * std::sqrt(1 - alpha_bar)) * (1 / std::sqrt(alpha_bar)), -1, 1);
    x = x0 * std::sqrt(previous) + eps * std::sqrt(1 - previous);
  }
  std::printf("first pixel of picture 0: %.4f\n", x.value().to_vector()[0]);
}
