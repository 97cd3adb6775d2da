// The tape: a graph of Nodes, newest first along its edges. Internal to autograd/.
//
// A node refers to the nodes of its inputs and never to their values: only what the backward closure saved
// stays alive.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
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

  ~Node();  // without recursion, however long the chain of inputs is
  bool is_leaf() const { return order == 0; }
  static std::shared_ptr<Node> leaf(const Shape& shape);
  static std::shared_ptr<Node> result(const char* op, const Shape& shape, Backward backward);
  static uint64_t last_order();  // of the newest node so far, in any thread
};

using Nodes = std::vector<std::shared_ptr<Node>>;

struct Var::State {
  Tensor value;
  std::shared_ptr<Node> node;  // null for constants
};

struct Tape {
  static Var record(const char* op, Tensor y, const std::vector<Var>& inputs, Backward backward);
  static Var record(const char* op, Tensor y, Nodes inputs, Backward backward);
  static std::shared_ptr<Node> node_of(const Var& var) { return var.defined() ? var.state_->node : nullptr; }
};

// What ops leave on the tape in this thread while one is alive.
enum class Recording {
  off,
  on,
  structure  // nodes and their inputs, but nothing saved: shows what a result depends on
};
Recording recording();

class RecordingScope {
 public:
  explicit RecordingScope(Recording mode);
  ~RecordingScope();
  RecordingScope(const RecordingScope&) = delete;
  RecordingScope& operator=(const RecordingScope&) = delete;

 private:
  Recording previous_;
};

// One walk over the tape: nodes are visited newest first, and each is asked once, when its gradient is
// complete. With targets, only nodes on a path from a root to a target are asked, and none below the targets
// unless a further target lies there. Nothing below the nodes of `border` is looked at. Without targets the
// leaves receive their gradients in Node::gradient.
class Traversal {
 public:
  Traversal(const Nodes& roots, const Nodes& targets, const Nodes& border = {});
  void seed(const std::shared_ptr<Node>& root, const Tensor& gradient);
  void run(bool keep_tape);
  // Of a target after run(); undefined if there is no path to it.
  Tensor gradient(const std::shared_ptr<Node>& target) const;

 private:
  class Sink;
  bool wanted(Node* node) const { return !restricted_ || targets_.count(node) || asked_.count(node); }
  void add(Node* node, const Tensor& gradient);

  Nodes order_;  // newest first, leaves last
  bool restricted_;
  std::unordered_set<Node*> targets_;
  std::unordered_set<Node*> asked_;  // those with a target among what they depend on
  std::unordered_map<Node*, Tensor> gradients_;
};

// The seed of an output: as given (cast to its dtype), or 1 for a single number.
Tensor seed_for(const char* where, const Var& output, const Tensor& seed);

}  // namespace tw
