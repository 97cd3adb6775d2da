// One update of a discrete-time sampler as one pass over the image:
//
//   x0 = s clamp(p x + q o, -clip, clip)                 the clean image that the network's output o stands
//   for x' = A x0 + B x + C o + D z + G g                    the next sample; z fresh noise, g a guidance
//   gradient
//
// DDPM, DDIM(eta) and the DPS step differ only in these coefficients (diffusion/sampler/,
// diffusion/inverse/). Composed of basic ops it is five passes and three temporaries.
#pragma once

#include <limits>
#include <span>

#include "tensor/view.h"

namespace tw::kernels {

struct SamplerStep {
  double x0_from_x = 0;       // p
  double x0_from_output = 1;  // q
  double clip = std::numeric_limits<double>::infinity();
  double x0_scale = 1;            // s: 1 but for dynamic thresholding
  double next_from_x0 = 0;        // A
  double next_from_x = 0;         // B
  double next_from_output = 0;    // C
  double next_from_noise = 0;     // D; where it is 0, z is not read
  double next_from_gradient = 0;  // G
};

constexpr int64_t sampler_coefficients = sizeof(SamplerStep) / sizeof(double);

// The arrays of one update, all (n, ...) of one shape and dtype (f32, f64 or bf16), contiguous.
struct SamplerArrays {
  View x;         // the sample x_t
  View output;    // the network's output o
  View noise;     // z, or absent: then D z is left out
  View gradient;  // g, or absent
  View x0;        // written unless absent
  View next;      // written; may be x
  // The coefficients in the arrays' device's memory, (9) f64 in the order of SamplerStep, instead of `steps`,
  // which is then empty: a repeated step (tensor/cuda_graph.h) reads what they are each time.
  View coefficients{};
};

// `steps` holds one entry for all samples, or one for each of the n. Throws Error naming the argument.
void sampler_step(std::span<const SamplerStep> steps, const SamplerArrays& arrays);

}  // namespace tw::kernels
