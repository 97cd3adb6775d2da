#include "kernels/cuda/convolution.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/pixel_sum.h"
#include "kernels/cuda/plan_cache.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/term.h"
#include "kernels/cuda/tf32.h"
#include "kernels/cuda/transpose.h"

namespace tw::cuda {
namespace {

using cudnn::Pass;
using cudnn::Window;

size_t bytes_of(const Shape& shape, DType dtype) {
  return static_cast<size_t>(shape.numel()) * dtype_size(dtype);
}

// A map (n, d, h, w, c) and the zeros around it; the depth of a 2-D map is 1.
struct Border {
  int64_t extent[3], before[3], padded[3], c;
};

template <class M>
__global__ void surround(Border b, const M* x, int64_t n, M* padded) {  // n: elements of padded
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    int64_t rest = i / b.c, at[3];
    bool inside = true;
    for (int axis = 2; axis >= 0; --axis) {
      at[axis] = rest % b.padded[axis] - b.before[axis];
      rest /= b.padded[axis];
      inside = inside && at[axis] >= 0 && at[axis] < b.extent[axis];
    }
    const int64_t from =
        (((rest * b.extent[0] + at[0]) * b.extent[1] + at[1]) * b.extent[2] + at[2]) * b.c + i % b.c;
    padded[i] = inside ? x[from] : M(0.0f);
  }
}

template <class M>
__global__ void crop(Border b, const M* padded, int64_t n, M* x) {  // n: elements of x
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    int64_t rest = i / b.c, at[3];
    for (int axis = 2; axis >= 0; --axis) {
      at[axis] = rest % b.extent[axis] + b.before[axis];
      rest /= b.extent[axis];
    }
    x[i] =
        padded[(((rest * b.padded[0] + at[0]) * b.padded[1] + at[1]) * b.padded[2] + at[2]) * b.c + i % b.c];
  }
}

// cuDNN's engines want as many zeros before as after. A map that is padded otherwise is copied between its
// zeros, and the window then pads nothing.
class Padded {
 public:
  Padded(const char* op, const Window& window, const View& map) : window(window), view(map) {
    bool even = true;
    for (int i = 0; i < window.axes; ++i) even = even && window.before[i] == window.after[i];
    if (even) return;
    border_ = {{1, 1, 1}, {0, 0, 0}, {1, 1, 1}, map.shape.back()};
    for (int i = 0; i < window.axes; ++i) {
      const int axis = 3 - window.axes + i;
      border_.extent[axis] = map.shape[i + 1];
      border_.before[axis] = window.before[i];
      border_.padded[axis] = map.shape[i + 1] + window.before[i] + window.after[i];
      view.shape = view.shape.with(i + 1, border_.padded[axis]);
      this->window.before[i] = this->window.after[i] = 0;
    }
    memory_ = std::make_unique<Scratch>(op, bytes_of(view.shape, view.dtype));
    view.pointer = memory_->get();
  }

  void fill_from(const char* op, const View& map) const {
    if (!memory_) return;
    require(for_float(op, map.dtype, [&]<class T>(T) {
      using M = typename Element<T>::Memory;
      launch(surround<M>, blocks_for(view.numel()), threads, border_, static_cast<const M*>(map.pointer),
             view.numel(), static_cast<M*>(view.pointer));
      return launched("surround");
    }));
  }
  void store_to(const char* op, const View& map) const {
    if (!memory_) return;
    require(for_float(op, map.dtype, [&]<class T>(T) {
      using M = typename Element<T>::Memory;
      launch(crop<M>, blocks_for(map.numel()), threads, border_, static_cast<const M*>(view.pointer),
             map.numel(), static_cast<M*>(map.pointer));
      return launched("crop");
    }));
  }

  Window window;  // of the padded map
  View view;      // the padded map, or the map itself

 private:
  Border border_{};
  std::unique_ptr<Scratch> memory_;
};

// (taps..., ci, co) -> (co, taps..., ci)
Shape turned_shape(const Shape& w) {
  Shape turned{w.back()};
  for (int i = 0; i + 1 < w.rank(); ++i) turned.push_back(w[i]);
  return turned;
}

// y = sum + bias(c) + temb(n, c) + residual.
template <class T>
__global__ void add_terms(const typename Element<T>::Memory* sum, int64_t n, int64_t of_sample, int64_t c,
                          Term bias, Term temb, Term residual, typename Element<T>::Memory* y) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    V value = Element<T>::load(sum[i]);
    if (bias.pointer) value += bias.at<V>(i % c);
    if (temb.pointer) value += temb.at<V>(i / of_sample * c + i % c);
    if (residual.pointer) value += residual.at<V>(i);
    y[i] = Element<T>::store(value);
  }
}

struct Problem {
  Pass pass;
  const Window& window;
  DType dtype;
  Shape x, w, y;                 // w turned
  std::vector<View> terms = {};  // fused into y

  std::string key() const {
    std::string text = detail::join(pass == Pass::forward         ? "forward"
                                    : pass == Pass::data_gradient ? "data_gradient"
                                                                  : "weight_gradient",
                                    ",", dtype_name(dtype));
    const auto append = [&](const char* name, const auto& numbers, int count) {
      text += detail::join(",", name);
      for (int i = 0; i < count; ++i) text += detail::join(i ? "x" : "", numbers[i]);
    };
    append("x", x, x.rank());
    append("w", w, w.rank());
    append("s", window.stride, window.axes);
    append("p", window.before, window.axes);
    append("d", window.dilation, window.axes);
    for (const View& term : terms) append(dtype_name(term.dtype), term.shape, term.rank());
    return text;
  }

  PlannedGraph describe() const {
    PlannedGraph made;
    const auto in_memory = [&](DType of, const Shape& shape) {
      made.bytes.push_back(bytes_of(shape, of));
      return made.graph.tensor(of, shape);
    };
    const auto sum_of = [&](bool last, int result) {
      return last ? result : made.graph.tensor(DType::f32, y, cudnn::Where::between);
    };
    const int a = in_memory(dtype, x), b = in_memory(dtype, w), result = in_memory(dtype, y);
    int sum = sum_of(terms.empty(), result);
    made.graph.convolution(pass, window, a, b, sum);
    for (size_t i = 0; i < terms.size(); ++i) {
      const int next = sum_of(i + 1 == terms.size(), result);
      made.graph.add(sum, in_memory(terms[i].dtype, terms[i].shape), next);
      sum = next;
    }
    return made;
  }
};

// What the graphs promise cuDNN of every pointer.
bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// False when cuDNN has no engine. The pointers are those of x, w, y and the terms.
bool run(const char* op, const Problem& problem, std::vector<void*> pointers) {
  for (const void* pointer : pointers)
    check(aligned(pointer), op, "on CUDA x, w and y must be aligned to 16 bytes");
  const cudnn::Plan* plan =
      find_plan(problem.key() + (tf32_allowed() ? ":tf32" : ""), [&] { return problem.describe(); });
  if (!plan) return false;
  for (const View& term : problem.terms) pointers.push_back(term.pointer);
  const Scratch workspace(op, static_cast<size_t>(plan->workspace_bytes()));
  plan->run(cudnn::handle(stream()), pointers, workspace.get());
  return true;
}

void run_or_fail(const char* op, const Problem& problem, const std::vector<void*>& pointers) {
  check(run(op, problem, pointers), op, "cuDNN has no engine for ", problem.key());
}

// A convolution of one tap that visits every pixel is one matrix product, with the weight as it is stored.
bool pointwise(const Window& window, const View& w) {
  bool plain = w.numel() == w.shape.back() * w.dim(-2);
  for (int i = 0; i < window.axes; ++i)
    plain = plain && window.stride[i] == 1 && window.before[i] == 0 && window.after[i] == 0;
  return plain;
}

View as_matrix(View v) {
  const int64_t columns = v.shape.back();
  v.shape = {v.numel() / columns, columns};
  v.strides = contiguous_strides(v.shape);
  return v;
}

// y = sum + the terms; the sum may be y.
void add_the_terms(const void* sum, const ConvolutionTerms& terms, const View& y) {
  require(for_float("conv", y.dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    launch(add_terms<T>, blocks_for(y.numel()), threads, static_cast<const M*>(sum), y.numel(),
           y.numel() / y.shape[0], y.shape.back(), Term(terms.bias), Term(terms.temb), Term(terms.residual),
           static_cast<M*>(y.pointer));
    return launched("add_terms");
  }));
}

// Turned weights: the caller's, or made in scratch memory.
class Turned {
 public:
  Turned(const char* op, const View& w, DType dtype, const View& given)
      : memory_(op, given ? 0 : bytes_of(w.shape, dtype)), pointer_(given ? given.pointer : memory_.get()) {
    if (!given) turn_weights(op, w, dtype, pointer_);
  }
  void* get() const { return pointer_; }

 private:
  Scratch memory_;
  void* pointer_;
};

}  // namespace

void turn_weights(const char* op, const View& w, DType to, void* turned) {
  const int64_t co = w.shape.back(), rows = w.numel() / co;
  require(for_float(op, w.dtype, [&]<class From>(From) {
    return for_float(op, to, [&]<class To>(To) { return transpose<From, To>(w.pointer, rows, co, turned); });
  }));
}

void convolve(const char* op, const Window& window, const View& x, const View& w,
              const ConvolutionTerms& terms, const View& y, const View& turned) {
  if (y.numel() == 0) return;
  if (pointwise(window, w)) {
    // The product adds the bias and a residual of y's type; a time embedding is added by itself.
    const bool fits = !terms.residual || terms.residual.dtype == y.dtype;
    const View x2 = as_matrix(x), y2 = as_matrix(y);
    kernels::GemmEpilogue epilogue{terms.bias, {}};
    if (terms.residual && fits) epilogue.residual = as_matrix(terms.residual);
    multiply_views({}, x2, as_matrix(w), epilogue, y2);
    if (terms.temb || !fits) add_the_terms(y.pointer, {{}, terms.temb, fits ? View() : terms.residual}, y);
    return;
  }
  const Padded map(op, window, x);
  map.fill_from(op, x);
  const Turned weights(op, w, x.dtype, turned);
  Problem problem{Pass::forward, map.window, x.dtype, map.view.shape, turned_shape(w.shape), y.shape};
  const auto broadcast = [&](View term, int64_t samples) {  // (samples, 1, ..., c)
    term.shape = y.shape.with(0, samples);
    for (int i = 1; i + 1 < y.rank(); ++i) term.shape = term.shape.with(i, 1);
    return term;
  };
  if (terms.bias) problem.terms.push_back(broadcast(terms.bias, 1));
  if (terms.temb) problem.terms.push_back(broadcast(terms.temb, y.shape[0]));
  if (terms.residual) problem.terms.push_back(terms.residual);
  const bool in_place = terms.residual && terms.residual.pointer == y.pointer;
  bool fits = !in_place;
  for (const View& term : problem.terms) fits = fits && aligned(term.pointer);
  if (fits && run(op, problem, {map.view.pointer, weights.get(), y.pointer})) return;
  check(!problem.terms.empty(), op, "cuDNN has no engine for ", problem.key());
  problem.terms.clear();
  const Scratch apart(op, in_place ? bytes_of(y.shape, y.dtype) : 0);
  void* sum = in_place ? apart.get() : y.pointer;
  run_or_fail(op, problem, {map.view.pointer, weights.get(), sum});
  add_the_terms(sum, terms, y);
}

void convolve_data_gradient(const char* op, const Window& window, const View& dy, const View& w,
                            const View& dx, const View& turned) {
  if (dx.numel() == 0) return;
  if (pointwise(window, w))
    return multiply_views({.transpose_b = true}, as_matrix(dy), as_matrix(w), {}, as_matrix(dx));
  const Padded map(op, window, dx);
  const Turned weights(op, w, dy.dtype, turned);
  run_or_fail(op,
              {Pass::data_gradient, map.window, dy.dtype, map.view.shape, turned_shape(w.shape), dy.shape},
              {map.view.pointer, weights.get(), dy.pointer});
  map.store_to(op, dx);
}

void convolve_weight_gradient(const char* op, const Window& window, const View& x, const View& dy,
                              const View& dw, const View& db) {
  if (dw.numel() == 0) return;
  if (pointwise(window, dw)) return multiply_outer(as_matrix(x), as_matrix(dy), as_matrix(dw), db);
  const Padded map(op, window, x);
  map.fill_from(op, x);
  // cuDNN writes the gradient in x's type: its sums are f32, and a 16-bit type rounds them once.
  View turned = dw;
  turned.dtype = x.dtype;
  turned.shape = turned_shape(dw.shape);
  const Scratch memory(op, bytes_of(dw.shape, x.dtype));
  turned.pointer = memory.get();
  run_or_fail(op, {Pass::weight_gradient, map.window, x.dtype, map.view.shape, turned.shape, dy.shape},
              {map.view.pointer, turned.pointer, dy.pointer});
  const int64_t co = dw.shape.back();
  require(for_float(op, x.dtype, [&]<class From>(From) {
    return transpose<From, float>(turned.pointer, co, dw.numel() / co, dw.pointer);
  }));
  if (db) pixel_sum(op, dy, 1, dy.numel() / co, co, db);
}

}  // namespace tw::cuda
