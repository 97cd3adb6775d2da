#include "autograd/ops/conv2d.h"

#include <algorithm>

#include "kernels/op/sum.h"
#include "tensor/error.h"
#include "tensor/pool.h"

namespace tw {
namespace {

using kernels::ConvDirection;
using kernels::ConvGeometry;

Tensor bytes(size_t count) { return Tensor::empty({static_cast<int64_t>(count)}, DType::u8); }

Tensor pack(const ConvGeometry& g, ConvDirection direction, const Tensor& w, DType activation,
            PackedWeights* cache) {
  PackedWeights::Entry* entry = !cache                                ? nullptr
                                : direction == ConvDirection::forward ? &cache->forward
                                                                      : &cache->data_gradient;
  if (entry && entry->source == w.storage() && entry->version == w.version() &&
      entry->isa == kernels::active_isa())
    return entry->packed;
  std::shared_ptr<Allocator> allocator =
      entry ? default_pool() : current_allocator();  // the cache outlives a planned step
  AllocatorScope scope(allocator);
  Tensor packed = bytes(conv_packed_bytes(g, direction, activation));
  conv_pack(g, direction, w.view(), packed.view());
  if (entry) *entry = {w.storage(), w.version(), kernels::active_isa(), packed};
  return packed;
}

// dy (n, pixels, c) summed over what is one in `kept`, in the dtype of parameters' gradients.
Tensor column_sum(const Tensor& dy, const Shape& as, const Shape& kept, const Shape& result) {
  const Tensor x = dy.reshape(as);
  Tensor y = Tensor::empty(kept, dy.dtype() == DType::bf16 ? DType::f32 : dy.dtype());
  const Tensor workspace = bytes(std::max<size_t>(8, kernels::sum_workspace_bytes(x.view(), kept)));
  kernels::sum(x.view(), 1, y.view(), workspace.data<uint8_t>());
  return y.reshape(result);
}

}  // namespace

namespace detail {

Var convolution(const char* op, const ConvGeometry& g, const Shape& y_shape, const Var& x, const Var& w,
                const Conv2dTerms& terms, PackedWeights* cache) {
  const DType dtype = x.dtype();
  auto view_of = [](const Var& var) { return var.defined() ? var.value().view() : View(); };
  Tensor y = Tensor::empty(y_shape, dtype);
  {
    const Tensor packed =
        pack(g, ConvDirection::forward, w.value(), dtype, wants_gradient({w}) ? nullptr : cache);
    const Tensor workspace = bytes(conv_forward_workspace(g, dtype));
    conv_forward(g, x.value().view(), packed.view(),
                 {view_of(terms.bias), view_of(terms.temb), view_of(terms.residual)}, y.view(),
                 workspace.view());
  }
  const std::vector<Var> inputs{x, w, terms.bias, terms.temb, terms.residual};
  if (!wants_gradient(inputs)) return Var(y);

  const Saved saved_x = w.requires_grad() ? Saved(x) : Saved();
  const Saved saved_w = x.requires_grad() ? Saved(w) : Saved();
  PackedWeights* backward_cache = w.requires_grad() ? nullptr : cache;
  const Shape x_shape = x.shape(), w_shape = w.shape();
  return record(op, y, inputs, [=](const Tensor& dy, Gradients& grads) {
    if (grads.wanted(0)) {
      Tensor dx = Tensor::empty(x_shape, dtype);
      const Tensor packed = pack(g, ConvDirection::data_gradient, saved_w.get(), dtype, backward_cache);
      const Tensor workspace = bytes(conv_data_gradient_workspace(g, dtype));
      conv_data_gradient(g, dy.view(), packed.view(), {}, dx.view(), workspace.view());
      grads.add(0, dx);
    }
    if (grads.wanted(1)) {
      Tensor dw = Tensor::empty(w_shape, dtype == DType::f64 ? DType::f64 : DType::f32);
      const Tensor workspace = bytes(conv_weight_gradient_workspace(g, dtype));
      conv_weight_gradient(g, saved_x.get().view(), dy.view(), dw.view(), workspace.view());
      grads.add(1, dw);
    }
    if (grads.wanted(2)) grads.add(2, column_sum(dy, {g.n * g.out_pixels(), g.co}, {1, g.co}, {g.co}));
    if (grads.wanted(3))
      grads.add(3, column_sum(dy, {g.n, g.out_pixels(), g.co}, {g.n, 1, g.co}, {g.n, g.co}).to(dtype));
    if (grads.wanted(4)) grads.add(4, dy);
  });
}

}  // namespace detail

Var conv2d(const Var& x, const Var& w, const Conv2dTerms& terms, const kernels::Conv2dParams& p,
           PackedWeights* packed) {
  check(x.shape().rank() == 4, "conv2d", "x must be (n, h, w, c), found ", x.shape());
  check(w.shape().rank() == 4, "conv2d", "w must be (kh, kw, ci, co), found ", w.shape());
  check(x.dim(3) == w.dim(2), "conv2d", "x ", x.shape(), " has ", x.dim(3), " channels, w ", w.shape(),
        " expects ", w.dim(2));
  const int64_t h = x.dim(1) + p.pad_top + p.pad_bottom - p.dilation_h * (w.dim(0) - 1) - 1;
  const int64_t width = x.dim(2) + p.pad_left + p.pad_right - p.dilation_w * (w.dim(1) - 1) - 1;
  check(h >= 0 && width >= 0, "conv2d", "the padded input of ", x.shape(), " is smaller than the kernel of ",
        w.shape());
  const ConvGeometry g{.n = x.dim(0),
                       .in = {1, x.dim(1), x.dim(2)},
                       .out = {1, h / p.stride_h + 1, width / p.stride_w + 1},
                       .kernel = {1, w.dim(0), w.dim(1)},
                       .stride = {1, p.stride_h, p.stride_w},
                       .pad = {0, p.pad_top, p.pad_left},
                       .dilation = {1, p.dilation_h, p.dilation_w},
                       .ci = w.dim(2),
                       .co = w.dim(3)};
  return detail::convolution("conv2d", g, {g.n, g.out[1], g.out[2], g.co}, x, w, terms, packed);
}

}  // namespace tw
