// Var: a Tensor and its place on the tape.
//
// An op computes its result on Tensors and, when gradients are on and one of its inputs wants a gradient,
// records a Node:
//   Var silu(const Var& x) {
//     Tensor y = ...;
//     if (!wants_gradient({x})) return Var(y);
//     return record("silu", y, {x}, [saved = Saved(x)](const Tensor& dy, Gradients& grads) {
//       grads.add(0, silu_backward(saved.get(), dy));
//     });
//   }
// What an op saves is decided when it is recorded, by which of its inputs want gradients (x.requires_grad()).
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace tw {

struct Node;

class Var {
 public:
  Var() = default;
  Var(Tensor value);  // a constant: wants no gradient
  // A leaf. Parameters and the inputs that one differentiates with respect to are leaves with requires_grad.
  static Var leaf(Tensor value, bool requires_grad = true);

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const;
  Tensor&
  mutable_value();  // for optimisers and loaders; count up the version with bump_version() when changed
  const Shape& shape() const { return value().shape(); }
  int64_t dim(int i) const { return value().dim(i); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }

  // True for leaves that want a gradient and for results that depend on one.
  bool requires_grad() const;
  void set_requires_grad(bool wanted);  // leaves only; freezing a parameter is set_requires_grad(false)
  bool is_leaf() const;

  // The gradient that backward() accumulated; undefined if there is none. Leaves only.
  const Tensor& grad() const;
  Tensor& mutable_grad();
  void clear_grad();

  Var detach() const;  // the same value as a constant

 private:
  friend struct Tape;
  struct State;
  std::shared_ptr<State> state_;
};

// A tensor kept for the backward pass. get() throws if it was changed in place since. A SavedLog lists what
// is kept (saved_log.h).
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& value);
  explicit Saved(const Var& var) : Saved(var.value()) {}
  const Tensor& get() const;

 private:
  Tensor value_;
  uint64_t version_ = 0;
};

// Where a node's backward puts the gradients of its inputs.
class Gradients {
 public:
  virtual ~Gradients() = default;
  virtual bool wanted(int input) const = 0;
  virtual void add(int input,
                   const Tensor& gradient) = 0;  // takes the handle; never changes the tensor it was given
};

using Backward = std::function<void(const Tensor& dy, Gradients& grads)>;

bool wants_gradient(std::initializer_list<Var> inputs);
bool wants_gradient(const std::vector<Var>& inputs);
Var record(const char* op, Tensor y, std::vector<Var> inputs, Backward backward);

// Accumulates d output / d leaf into the grad() of every leaf that wants one. `seed` is dL/d output; it may
// be left out for a one-element output (then 1). Frees what the tape saved unless keep_tape; a second
// backward through a freed tape throws.
void backward(const Var& output, const Tensor& seed = {}, bool keep_tape = false);

// d sum(outputs * seeds) / d inputs, in order. Touches no grad(), visits only the nodes between outputs and
// inputs, and asks them for no other gradients. Throws if an input has no path to the outputs, naming its
// position. Inputs may be results as well as leaves. Threads may call it at once on tapes of their own that
// share leaves; backward() writes to the leaves, so there a set of leaves belongs to one thread.
std::vector<Tensor> grad(const std::vector<Var>& outputs, const std::vector<Var>& inputs,
                         const std::vector<Tensor>& seeds = {}, bool keep_tape = false);

// While one is alive in this thread nothing is recorded.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  int previous_;  // what was recorded before (tape.h)
};
bool grad_enabled();

}  // namespace tw
