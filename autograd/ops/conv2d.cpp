#include "autograd/ops/conv2d.h"

#include "autograd/workspace.h"
#include "kernels/op/pixel_sum.h"
#include "tensor/error.h"

namespace tw {
namespace {

View view_of(const Var& var) { return var.defined() ? var.value().view() : View{}; }

bool same(const kernels::Conv2dParams& a, const kernels::Conv2dParams& b) {
  return a.stride_h == b.stride_h && a.stride_w == b.stride_w && a.pad_top == b.pad_top &&
         a.pad_bottom == b.pad_bottom && a.pad_left == b.pad_left && a.pad_right == b.pad_right &&
         a.dilation_h == b.dilation_h && a.dilation_w == b.dilation_w;
}

// Everything that the backward pass needs, decided when the op is recorded.
struct Kept {
  kernels::Conv2dParams params;
  detail::ConvolutionShapes shapes;
  Shape x_shape, w_shape;  // as the caller sees them
  Saved x = {}, w = {};
  Tensor packed = {};  // weights of the data gradient, if a cache has them
  DType temb = DType::f32, residual = DType::f32;
};

DType gradient_dtype(const Tensor& dy) { return dy.dtype() == DType::f64 ? DType::f64 : DType::f32; }

void data_gradient(const Kept& kept, const Tensor& dy, Gradients& grads) {
  const Shape& w = kept.shapes.w;
  const Tensor dx = Tensor::empty(kept.shapes.x, dy.dtype(), dy.device());
  const Tensor scratch =
      workspace(kernels::conv2d_data_gradient_workspace_bytes(
                    {kept.params, dx.shape(), w, dy.dtype(), false, dy.device()}, kept.packed.defined()),
                dy.device());
  kernels::conv2d_data_gradient(kept.params, dy.view(), kept.w.get().reshape(w).view(), dx.view(),
                                scratch.view(), kept.packed.view());
  grads.add(0, dx.reshape(kept.x_shape));
}

// The gradients of w and, if wanted, of the bias.
void weight_gradient(const Kept& kept, const Tensor& dy, Gradients& grads) {
  const Shape& w = kept.shapes.w;
  const Tensor dw = Tensor::empty(w, gradient_dtype(dy), dy.device());
  const Tensor db = grads.wanted(2) ? Tensor::empty({w[3]}, gradient_dtype(dy), dy.device()) : Tensor();
  const Tensor scratch = workspace(kernels::conv2d_weight_gradient_workspace_bytes(
                                       {kept.params, kept.shapes.x, w, dy.dtype(), false, dy.device()}),
                                   dy.device());
  kernels::conv2d_weight_gradient(kept.params, kept.x.get().reshape(kept.shapes.x).view(), dy.view(),
                                  dw.view(), db.view(), scratch.view());
  grads.add(1, dw.reshape(kept.w_shape));
  if (db.defined()) grads.add(2, db);
}

// The gradients of temb (a sum over each sample's pixels) and of the bias (a sum over all).
void sum_gradients(const Kept& kept, const Tensor& dy, bool bias, Gradients& grads) {
  const int64_t channels = dy.dim(-1);
  const Tensor per_sample = Tensor::empty({dy.dim(0), channels}, gradient_dtype(dy), dy.device());
  kernels::pixel_sum(dy.view(), per_sample.view());
  if (grads.wanted(3)) grads.add(3, per_sample.to(kept.temb));
  if (!bias) return;
  const Tensor db = Tensor::empty({1, channels}, gradient_dtype(dy), dy.device());
  kernels::pixel_sum(per_sample.unsqueeze(0).view(), db.view());
  grads.add(2, db.reshape({channels}));
}

}  // namespace

bool PackedWeights::Slot::holds(const kernels::Conv2dParams& wanted, const Tensor& w) const {
  return packed.defined() && storage.lock() == w.storage() && offset == w.offset() && shape == w.shape() &&
         version == w.version() && same(params, wanted) && isa == kernels::active_isa();
}

const Tensor& PackedWeights::get(const kernels::Conv2dProblem& problem, const Tensor& w,
                                 kernels::Conv2dPass pass) {
  const bool on_cuda = problem.device == Device::cuda;
  Slot& slot = slots_[pass == kernels::Conv2dPass::forward || on_cuda ? 0 : 1];
  const kernels::Conv2dImplementation* reader =
      on_cuda ? nullptr : &kernels::conv2d_implementation(problem, pass);
  if (slot.holds(problem.params, w) && slot.reader == reader && slot.dtype == problem.dtype) {
    if (slot.calls < often && ++slot.calls == often)
      (slot.packed.numel() > 0 ? slot.packed : w).storage()->move_to_huge_pages();
    return slot.packed;
  }
  check(!w.storage()->discarded(), "conv2d", "the weight ", w.shape(),
        " was given back after it had been packed for another use");
  AllocatorScope scope(weight_allocator(problem.device));  // it lives as long as its layer
  slot = {Tensor::empty({kernels::conv2d_packed_bytes(problem, pass)}, DType::u8, problem.device),
          w.storage(),
          w.offset(),
          w.shape(),
          w.version(),
          problem.params,
          problem.dtype,
          reader,
          kernels::active_isa()};
  kernels::conv2d_pack_weights(problem, w.view(), pass, slot.packed.view());
  const auto replaces = [&](const Slot& other) {  // an implementation that packs nothing reads w itself
    return other.holds(problem.params, w) && other.packed.numel() > 0;
  };
  const bool complete =
      replaces(slots_[0]) && (use_ == WeightUse::sampling || on_cuda || replaces(slots_[1]));
  if (use_ != WeightUse::any && complete) w.storage()->discard();
  return slot.packed;
}

namespace detail {

Var convolution(const char* op, const ConvolutionShapes& shapes, const Var& x, const Var& w,
                const Conv2dTerms& terms, const kernels::Conv2dParams& params, PackedWeights* cache) {
  const Tensor input = x.value().contiguous(), weight = w.value().contiguous();
  const Tensor input4 = input.reshape(shapes.x), weight4 = weight.reshape(shapes.w);
  const Shape y_shape = kernels::conv2d_output_shape(params, shapes.x, shapes.w);
  const Tensor y = Tensor::empty(y_shape, x.dtype(), x.device());
  if (terms.residual.defined())
    check(terms.residual.shape() == shapes.y, op, "the residual must be ", shapes.y, ", found ",
          terms.residual.shape());
  const Tensor residual =
      terms.residual.defined() ? terms.residual.value().contiguous().reshape(y_shape) : Tensor();
  const std::vector<Var> inputs{x, w, terms.bias, terms.temb, terms.residual};
  kernels::Conv2dProblem problem{params, shapes.x, shapes.w, x.dtype(), terms.temb.defined(), input.device()};
  const bool cached = cache && x.dtype() != DType::f64 && !wants_gradient({w});
  {
    const Tensor packed = cached ? cache->get(problem, weight4, kernels::Conv2dPass::forward) : Tensor();
    const Tensor scratch =
        workspace(kernels::conv2d_forward_workspace_bytes(problem, packed.defined()), x.device());
    kernels::conv2d_forward(params, input4.view(), weight4.view(),
                            {view_of(terms.bias), view_of(terms.temb), residual.view()}, y.view(),
                            scratch.view(), packed.view());
  }
  if (!wants_gradient(inputs)) return Var(y.reshape(shapes.y));
  problem.temb = false;  // which the data gradient knows nothing of

  Kept kept{.params = params, .shapes = shapes, .x_shape = x.shape(), .w_shape = w.shape()};
  if (w.requires_grad()) kept.x = Saved(input);
  if (x.requires_grad()) kept.w = Saved(weight);
  if (x.requires_grad() && cached)
    kept.packed = cache->get(problem, weight4, kernels::Conv2dPass::data_gradient);
  if (terms.temb.defined()) kept.temb = terms.temb.dtype();
  if (terms.residual.defined()) kept.residual = terms.residual.dtype();
  return record(op, y.reshape(shapes.y), inputs, [kept, y_shape](const Tensor& gradient, Gradients& grads) {
    const Tensor dy = gradient.reshape(y_shape);
    if (grads.wanted(0)) data_gradient(kept, dy, grads);
    if (grads.wanted(1)) weight_gradient(kept, dy, grads);
    const bool bias_alone = grads.wanted(2) && !grads.wanted(1);
    if (grads.wanted(3) || bias_alone) sum_gradients(kept, dy, bias_alone, grads);
    if (grads.wanted(4)) grads.add(4, gradient.to(kept.residual));
  });
}

}  // namespace detail

Var conv2d(const Var& x, const Var& w, const Conv2dTerms& terms, const kernels::Conv2dParams& params,
           PackedWeights* packed) {
  check(x.defined() && w.defined(), "conv2d", x.defined() ? "w" : "x", " is undefined");
  const Shape y = kernels::conv2d_output_shape(params, x.shape(), w.shape());
  return detail::convolution("conv2d", {x.shape(), w.shape(), y}, x, w, terms, params, packed);
}

}  // namespace tw
