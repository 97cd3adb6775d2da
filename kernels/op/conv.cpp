#include "kernels/op/conv.h"

#include <algorithm>

#include "kernels/cpu/conv_direct.h"
#include "kernels/cpu/conv_reference.h"
#include "kernels/op/checks.h"
#include "kernels/op/copy.h"

namespace tw::kernels {
namespace {

struct Sides {
  Shape from, to;
};

Shape activation_shape(const ConvGeometry& g, const int64_t* extents, int64_t channels) {
  return Shape{g.n, extents[0], extents[1], extents[2], channels};
}

size_t f32_bytes(int64_t elements) { return (static_cast<size_t>(elements) * sizeof(float) + 63) / 64 * 64; }

// Hands out consecutive parts of the work space.
class Workspace {
 public:
  Workspace(const char* op, const View& view, size_t needed) : next_(static_cast<char*>(view.pointer)) {
    check(needed == 0 || (view && static_cast<size_t>(view.numel()) >= needed), op, "needs ", needed,
          " bytes of work space, found ", view ? view.numel() : 0);
  }
  float* take(int64_t elements) {
    char* part = next_;
    next_ += f32_bytes(elements);
    return reinterpret_cast<float*>(part);
  }

 private:
  char* next_;
};

// The tensor as f32: itself, or widened into the work space.
const float* widened(const View& v, Workspace& workspace) {
  if (!v) return nullptr;
  if (v.dtype == DType::f32) return v.data<float>();
  float* wide = workspace.take(v.numel());
  copy(v, {wide, DType::f32, Device::cpu, v.shape, v.strides});
  return wide;
}

void check_activation(const char* op, const char* name, const View& v, const ConvGeometry& g,
                      const int64_t* extents, int64_t channels) {
  check_dense(op, {name, v});
  check(v.numel() == activation_shape(g, extents, channels).numel(), op, name, " must be ",
        activation_shape(g, extents, channels), " (n, d, h, w, c), found ", v.shape);
}

// The dtypes of an epilogue's terms are free among f32 and bf16, but f64 goes with f64 only.
void check_terms(const char* op, const ConvEpilogue& terms, const View& result, int64_t n, int64_t channels) {
  for (const Argument& term :
       {Argument{"bias", terms.bias}, Argument{"temb", terms.temb}, Argument{"residual", terms.residual}}) {
    if (!term.view) continue;
    check_dense(op, term);
    check((term.view.dtype == DType::f64) == (result.dtype == DType::f64), op, term.name, " is ",
          dtype_name(term.view.dtype), " beside a result in ", dtype_name(result.dtype));
  }
  if (terms.bias) check_shape(op, {"bias", terms.bias}, {channels});
  if (terms.temb) check_shape(op, {"temb", terms.temb}, {n, channels});
  if (terms.residual) check_shape(op, {"residual", terms.residual}, result.shape);
}

size_t run_workspace(const ConvGeometry& g, DType activation) {
  if (activation != DType::bf16) return 2 * f32_bytes(g.co + g.n * g.co + g.ci + g.n * g.ci);
  const int64_t x = g.n * g.in_pixels() * g.ci, y = g.n * g.out_pixels() * g.co;
  return f32_bytes(x) + f32_bytes(y) + f32_bytes(std::max(x, y)) +
         2 * f32_bytes(g.co + g.n * g.co + g.ci + g.n * g.ci);
}

void run(const char* op, const ConvGeometry& g, ConvDirection direction, const View& from, const View& packed,
         const ConvEpilogue& terms, const View& to, const View& workspace_view) {
  const bool forward = direction == ConvDirection::forward;
  check_activation(op, forward ? "x" : "dy", from, g, forward ? g.in : g.out, forward ? g.ci : g.co);
  check_activation(op, forward ? "y" : "dx", to, g, forward ? g.out : g.in, forward ? g.co : g.ci);
  check_dtype(op, {forward ? "y" : "dx", to}, from.dtype);
  check_terms(op, terms, to, g.n, forward ? g.co : g.ci);
  check(packed && static_cast<size_t>(packed.numel()) == conv_packed_bytes(g, direction, from.dtype), op,
        "the packed weights hold ", packed ? packed.numel() : 0, " bytes, expected ",
        conv_packed_bytes(g, direction, from.dtype));
  if (from.numel() == 0 && to.numel() == 0) return;

  if (from.dtype == DType::f64) {
    auto f64 = [](const View& v) { return v ? v.data<double>() : nullptr; };
    auto reference = forward ? reference_forward : reference_data_gradient;
    return reference(g, f64(from), static_cast<const double*>(packed.pointer), f64(terms.bias),
                     f64(terms.temb), f64(terms.residual), to.data<double>());
  }
  Workspace workspace(op, workspace_view, run_workspace(g, from.dtype));
  const float* source = widened(from, workspace);
  const float* bias = widened(terms.bias, workspace);
  const float* temb = widened(terms.temb, workspace);
  const float* residual = widened(terms.residual, workspace);
  float* target = to.dtype == DType::f32 ? to.data<float>() : workspace.take(to.numel());
  direct_run(g, direction, source, static_cast<const float*>(packed.pointer), bias, temb, residual, target);
  if (to.dtype != DType::f32) copy({target, DType::f32, Device::cpu, to.shape, to.strides}, to);
}

}  // namespace

size_t conv_packed_bytes(const ConvGeometry& g, ConvDirection direction, DType activation) {
  if (activation == DType::f64) return static_cast<size_t>(g.taps() * g.ci * g.co) * sizeof(double);
  const PanelLayout layout = panel_layout(g, direction);
  return static_cast<size_t>(layout.elements() + std::max(g.ci, g.co)) * sizeof(float);  // and a row of zeros
}

void conv_pack(const ConvGeometry& g, ConvDirection direction, const View& w, const View& packed) {
  const char* op = "conv_pack";
  check_dense(op, {"w", w});
  check(w.numel() == g.taps() * g.ci * g.co, op, "w ", w.shape, " does not hold ", g.taps(), " taps of ",
        g.ci, " x ", g.co);
  check(packed && static_cast<size_t>(packed.numel()) == conv_packed_bytes(g, direction, w.dtype), op,
        "the packed buffer has the wrong size");
  if (w.dtype == DType::f64) {
    std::copy(w.data<double>(), w.data<double>() + w.numel(), static_cast<double*>(packed.pointer));
    return;
  }
  float* out = static_cast<float*>(packed.pointer);
  direct_pack(g, direction, w, out);
  std::fill_n(out + panel_layout(g, direction).elements(), std::max(g.ci, g.co), 0.0f);
}

size_t conv_forward_workspace(const ConvGeometry& g, DType activation) {
  return run_workspace(g, activation);
}
size_t conv_data_gradient_workspace(const ConvGeometry& g, DType activation) {
  return run_workspace(g, activation);
}

void conv_forward(const ConvGeometry& g, const View& x, const View& packed, const ConvEpilogue& terms,
                  const View& y, const View& workspace) {
  run("conv_forward", g, ConvDirection::forward, x, packed, terms, y, workspace);
}

void conv_data_gradient(const ConvGeometry& g, const View& dy, const View& packed, const ConvEpilogue& terms,
                        const View& dx, const View& workspace) {
  run("conv_data_gradient", g, ConvDirection::data_gradient, dy, packed, terms, dx, workspace);
}

size_t conv_weight_gradient_workspace(const ConvGeometry& g, DType activation) {
  return activation == DType::bf16
             ? f32_bytes(g.n * g.in_pixels() * g.ci) + f32_bytes(g.n * g.out_pixels() * g.co)
             : 0;
}

void conv_weight_gradient(const ConvGeometry& g, const View& x, const View& dy, const View& dw,
                          const View& workspace_view) {
  const char* op = "conv_weight_gradient";
  check_activation(op, "x", x, g, g.in, g.ci);
  check_activation(op, "dy", dy, g, g.out, g.co);
  check_dtype(op, {"dy", dy}, x.dtype);
  check_dense(op, {"dw", dw});
  check(dw.numel() == g.taps() * g.ci * g.co, op, "dw ", dw.shape, " does not hold ", g.taps(), " taps of ",
        g.ci, " x ", g.co);
  check_dtype(op, {"dw", dw}, x.dtype == DType::f64 ? DType::f64 : DType::f32);
  if (x.dtype == DType::f64)
    return reference_weight_gradient(g, x.data<double>(), dy.data<double>(), dw.data<double>());
  Workspace workspace(op, workspace_view, conv_weight_gradient_workspace(g, x.dtype));
  const float* wide_x = widened(x, workspace);
  const float* wide_dy = widened(dy, workspace);
  direct_weight_gradient(g, wide_x, wide_dy, dw.data<float>());
}

}  // namespace tw::kernels
