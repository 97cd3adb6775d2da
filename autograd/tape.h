// The tape: a graph of Nodes, newest first along its edges. Internal to autograd/.
//
// A node refers to the nodes of its inputs and never to their values: only what the backward closure saved
// stays alive.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "autograd/var.h"

namespace tw {

struct Node {
  const char* op = "leaf";
  uint64_t order = 0;                         // of recording; inputs have smaller numbers
  Shape shape;                                // of the value, hence of its gradient
  std::vector<std::shared_ptr<Node>> inputs;  // null where no gradient is wanted
  Backward backward;                          // empty for a leaf, and once the tape has been freed
  bool freed = false;
  Tensor gradient;  // leaves: what backward() has accumulated

  bool is_leaf() const { return order == 0; }
  static std::shared_ptr<Node> leaf(const Shape& shape);
  static std::shared_ptr<Node> result(const char* op, const Shape& shape, Backward backward);
};

struct Var::State {
  Tensor value;
  std::shared_ptr<Node> node;  // null for constants
};

struct Tape {
  static Var record(const char* op, Tensor y, const std::vector<Var>& inputs, Backward backward);
  static std::shared_ptr<Node> node_of(const Var& var);
};

}  // namespace tw
