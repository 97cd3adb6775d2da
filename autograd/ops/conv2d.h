// 2-D convolution with its usual neighbours fused: y = conv(x, w) + bias + temb + residual.
#pragma once

#include "autograd/var.h"
#include "kernels/cpu/isa.h"
#include "kernels/op/conv2d.h"

namespace tw {

// Each may be undefined.
struct Conv2dTerms {
  Var bias = {};      // (co)
  Var temb = {};      // (n, co), added to every pixel of its sample
  Var residual = {};  // (n, ho, wo, co)
};

// What frozen weights will be used for.
enum class WeightUse { any, sampling, guided_sampling };

// The packed weights of one layer, kept from call to call and packed again when the weight, its version, the
// parameters, the implementation or the instruction set have changed. For one thread at a time.
class PackedWeights {
 public:
  // The packed form of w for a pass; what it was packed into before stays alive while a tape holds it.
  const Tensor& get(const kernels::Conv2dProblem& problem, const Tensor& w, kernels::Conv2dPass pass);
  void clear() { *this = PackedWeights(); }

  // From now on w's memory is given back (Storage::discard) once the passes of `use` have been packed:
  // sampling runs the forward pass, guided sampling the data gradient too. Nothing else can be packed then.
  void keep_only_packed(WeightUse use) { use_ = use; }

 private:
  struct Slot {
    Tensor packed;
    std::weak_ptr<Storage> storage;
    int64_t offset = 0;
    Shape shape;
    uint64_t version = 0;
    kernels::Conv2dParams params;
    DType dtype = DType::f32;                               // of the activations
    const kernels::Conv2dImplementation* reader = nullptr;  // on the CPU
    kernels::Isa isa = kernels::Isa::portable;
    int calls = 0;  // up to `often`
    bool holds(const kernels::Conv2dParams& wanted, const Tensor& w) const;
  };
  static constexpr int often = 64;  // calls after which weights are worth huge pages
  Slot slots_[2];                   // forward, data gradient; on CUDA the first serves both
  WeightUse use_ = WeightUse::any;
};

// x (n, h, w, ci), w (kh, kw, ci, co) -> (n, ho, wo, co); see kernels/op/conv2d.h. Saves x only if w wants a
// gradient and w only if x does: with frozen weights nothing but the weight. The gradients of w and of the
// bias are f32 (f64 with f64). `packed`, owned by a layer, is used while no gradient of w is wanted. Throws
// Error naming "conv2d".
Var conv2d(const Var& x, const Var& w, const Conv2dTerms& terms = {},
           const kernels::Conv2dParams& params = {}, PackedWeights* packed = nullptr);

namespace detail {
// What conv2d and linear share: x, w and the residual are seen in these shapes of rank 4, the result in
// y_shape.
struct ConvolutionShapes {
  Shape x, w, y;
};
Var convolution(const char* op, const ConvolutionShapes& shapes, const Var& x, const Var& w,
                const Conv2dTerms& terms, const kernels::Conv2dParams& params, PackedWeights* packed);
}  // namespace detail

}  // namespace tw
