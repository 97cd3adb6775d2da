// Diffusion posterior sampling (Chung et al., ICLR 2023): sample the prior and pull each step towards the
// measurement.
//
//   x' <- one step of the sampler from x_t, with x0 the clipped prediction
//   l  =  || y - A x0 ||_2                     not squared, of each image on its own
//   x_{t-1} = x' - c dl/dx_t                   through A, the clamp and the network
//
// The paper divides zeta' grad ||r||^2 by ||r||: the same with c = 2 zeta'; its code's `scale` is c.
// Published scales lie between 0.3 and 1. The gradient is for x only: freeze the network's weights, or their
// saved inputs cost memory. The norm is per image, where the reference takes it over the batch: a batch of 8
// gives what 8 batches of 1 give.
#pragma once

#include "diffusion/inverse/operator.h"
#include "diffusion/sampler/loop.h"
#include "kernels/op/residual_norm.h"

namespace tw {

struct DpsParams {
  double scale = 1;                                              // c
  kernels::ResidualKind residual = kernels::ResidualKind::norm;  // squared: x' - c grad ||r||^2
};

// table: ddpm_table(...) or another. y: the measurement, in the shape of A x; y, A and the network on
// the device of x_T. Returns x_0 (n, h, w, c); the observer sees l of each image. Throws Error{numeric}
// naming the step when an l is not finite.
Tensor dps(const Denoiser& network, const SamplerTable& table, const LinearOperator& A, const Tensor& y,
           const DpsParams& params, const Tensor& x_T, NoiseSource& noise, const LoopOptions& options = {});

}  // namespace tw
