// Module: a tree of named parameters. A layer is a Module with parameters, a network a Module with children.
//
// Names are joined with dots ("down.0.block.1.conv1.weight") and listed in the order of registration, depth
// first: that order is the order of optimiser state, of gradient norms and of listings, and never changes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "autograd/var.h"
#include "nn/initialiser.h"
#include "tensor/allocation_label.h"

namespace tw {

enum class WeightUse;  // autograd/ops/conv2d.h

struct Parameter {
  std::string name;
  Var value;  // a handle: changing its tensor changes the module's
  Initialiser initialiser;
};

struct Buffer {
  std::string name;
  Tensor* value;  // part of the model's state, but not trained
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;  // children are registered by address
  Module& operator=(const Module&) = delete;

  std::vector<Parameter> parameters() const;
  std::vector<Buffer> buffers() const;
  int64_t parameter_count() const;  // elements of all parameters

  // New values for every parameter. Construction leaves them unset, since a loader replaces them anyway.
  void initialise(uint64_t seed);

  // Whether dropout is active. Off until asked for.
  void train(bool on = true);
  void evaluate() { train(false); }
  bool training() const { return training_; }

  // The name under which the parent registered it: what it allocates carries this name in memory plans.
  const std::string& name() const { return name_; }

  // Of a frozen network: weights that layers pack are given back layer by layer as they are packed, which
  // halves what sampling holds. Reading such a parameter then throws.
  virtual void keep_only_packed(WeightUse use);

  // With frozen parameters nothing is recorded or saved for their gradients (DPS, feature extraction).
  void freeze(bool on = true);

  void clear_gradients();

  // Moves every parameter and buffer. Optimisers and averages are made after it: their state lies where the
  // parameters do. Throws when there is no such device, and then leaves everything where it was.
  void to(Device device);

  // Casts every parameter: f64 for oracles, bf16 to halve the bytes of weights in sampling.
  void to(DType dtype);

 protected:
  // Registered by constructors, in the order in which they shall be listed. Throws on a repeated name.
  Var parameter(const std::string& name, const Shape& shape, const Initialiser& initialiser);
  void buffer(const std::string& name, Tensor& value);
  void child(const std::string& name, Module& module);

 private:
  template <class F>
  void visit(const std::string& prefix, F&& f) const;  // f(prefix, module)
  void check_new(const std::string& name) const;

  std::vector<Parameter> parameters_;
  std::vector<Buffer> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  std::string name_;
  bool training_ = false;
};

}  // namespace tw
