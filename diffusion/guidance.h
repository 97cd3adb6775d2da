// Classifier-free guidance (Ho & Salimans 2022): o = o_null + w (o_class - o_null). w = 1 is the conditional
// model, w = 0 the unconditional one; larger w trades variety for fidelity. Holds for eps, x0 and v alike:
// all are affine in one another at a given x_t.
#pragma once

#include "diffusion/sampler/loop.h"

namespace tw {

// Two network evaluations a step, one after the other (half the memory of a doubled batch); one when w is 0
// or 1.
Denoiser classifier_free(Denoiser conditional, Denoiser unconditional, double w);

}  // namespace tw
