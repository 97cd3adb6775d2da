// Reverse accumulation: nodes are visited newest first; each is asked once, when its gradient is complete.
#include "autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <unordered_map>
#include <unordered_set>

#include "kernels/op/accumulate.h"
#include "tensor/error.h"

namespace tw {
namespace {

// sum += term, in place if nobody else holds sum.
void accumulate_into(Tensor& sum, const Tensor& term) {
  if (!sum.defined()) {
    sum = term;
    return;
  }
  if (sum.storage().use_count() > 1 || !sum.is_contiguous()) sum = sum.clone();
  kernels::accumulate(term.contiguous().view(), sum.view());
  sum.bump_version();
}

class Traversal {
 public:
  // With targets, only nodes on a path to one of them are visited and asked; without, every leaf is a target.
  Traversal(const std::vector<std::shared_ptr<Node>>& roots,
            const std::vector<std::shared_ptr<Node>>& targets) {
    collect(roots);
    if (targets.empty()) return;
    restricted_ = true;
    std::unordered_set<Node*> wanted;
    for (const auto& target : targets) wanted.insert(target.get());
    for (auto it = order_.rbegin(); it != order_.rend();
         ++it)  // oldest first, so inputs are settled before their users
      for (const auto& input : (*it)->inputs)
        if (wanted.count(input.get())) wanted.insert(it->get());
    wanted_ = std::move(wanted);
  }

  void seed(const std::shared_ptr<Node>& root, const Tensor& gradient) {
    accumulate_into(gradients_[root.get()], gradient);
  }

  // Leaves the gradients of leaves and targets in gradients().
  void run(const std::vector<std::shared_ptr<Node>>& targets, bool keep_tape) {
    std::unordered_set<Node*> kept;
    for (const auto& target : targets) kept.insert(target.get());
    for (const auto& node : order_) {
      if (node->is_leaf() || !visits(node.get())) continue;
      auto found = gradients_.find(node.get());
      if (found == gradients_.end()) continue;
      check(!node->freed, "backward", "the tape of '", node->op,
            "' was freed by an earlier backward; pass keep_tape to the first one");
      const Tensor dy = kept.count(node.get()) ? found->second : std::move(found->second);
      if (!kept.count(node.get())) gradients_.erase(found);
      Sink sink(*this, *node);
      node->backward(dy.contiguous(), sink);
      if (!keep_tape) {
        node->backward = nullptr;  // what it saved goes now
        node->freed = true;
      }
    }
  }

  std::unordered_map<Node*, Tensor>& gradients() { return gradients_; }
  const std::vector<std::shared_ptr<Node>>& order() const { return order_; }

 private:
  class Sink : public Gradients {
   public:
    Sink(Traversal& traversal, Node& node) : traversal_(traversal), node_(node) {}
    bool wanted(int input) const override {
      Node* target = node_.inputs.at(static_cast<size_t>(input)).get();
      return target && traversal_.visits(target);
    }
    void add(int input, const Tensor& gradient) override {
      if (!wanted(input)) return;
      Node* target = node_.inputs.at(static_cast<size_t>(input)).get();
      check(gradient.shape() == target->shape, node_.op, "gradient of input ", input, " is ",
            gradient.shape(), ", the input is ", target->shape);
      accumulate_into(traversal_.gradients_[target], gradient);
    }

   private:
    Traversal& traversal_;
    Node& node_;
  };

  bool visits(Node* node) const { return !restricted_ || wanted_.count(node); }

  void collect(const std::vector<std::shared_ptr<Node>>& roots) {
    std::unordered_set<Node*> seen;
    std::vector<std::shared_ptr<Node>> pending;
    auto visit = [&](const std::shared_ptr<Node>& node) {
      if (node && seen.insert(node.get()).second) pending.push_back(node);
    };
    for (const auto& root : roots) visit(root);
    while (!pending.empty()) {
      order_.push_back(std::move(pending.back()));
      pending.pop_back();
      for (const auto& input : std::vector(order_.back()->inputs)) visit(input);
    }
    std::sort(order_.begin(), order_.end(), [](const auto& a, const auto& b) { return a->order > b->order; });
  }

  std::vector<std::shared_ptr<Node>> order_;  // newest first, leaves last
  bool restricted_ = false;
  std::unordered_set<Node*> wanted_;
  std::unordered_map<Node*, Tensor> gradients_;
};

Tensor seed_for(const char* where, const Var& output, const Tensor& seed) {
  if (seed.defined()) {
    check(seed.shape() == output.shape(), where, "the seed is ", seed.shape(), ", the output ",
          output.shape());
    return seed;
  }
  check(output.value().numel() == 1, where, "the output ", output.shape(),
        " is not a single number: give a seed of its shape");
  return Tensor::full(output.shape(), 1, output.dtype());
}

}  // namespace

std::shared_ptr<Node> Node::leaf(const Shape& shape) {
  auto node = std::make_shared<Node>();
  node->shape = shape;
  return node;
}

std::shared_ptr<Node> Node::result(const char* op, const Shape& shape, Backward backward) {
  static std::atomic<uint64_t> counter{0};
  auto node = std::make_shared<Node>();
  node->op = op;
  node->order = ++counter;
  node->shape = shape;
  node->backward = std::move(backward);
  return node;
}

void backward(const Var& output, const Tensor& seed, bool keep_tape) {
  const auto root = Tape::node_of(output);
  check(root != nullptr, "backward", "the output depends on nothing that wants a gradient");
  NoGrad no_grad;
  Traversal traversal({root}, {});
  traversal.seed(root, seed_for("backward", output, seed));
  traversal.run({}, keep_tape);
  for (const auto& node : traversal.order()) {
    if (!node->is_leaf()) continue;
    auto found = traversal.gradients().find(node.get());
    if (found == traversal.gradients().end()) continue;
    const Tensor term = std::move(found->second);
    traversal.gradients().erase(found);
    accumulate_into(node->gradient, term);
  }
}

std::vector<Tensor> grad(const std::vector<Var>& outputs, const std::vector<Var>& inputs,
                         const std::vector<Tensor>& seeds, bool keep_tape) {
  check(seeds.empty() || seeds.size() == outputs.size(), "grad", seeds.size(), " seeds given for ",
        outputs.size(), " outputs");
  NoGrad no_grad;
  std::vector<std::shared_ptr<Node>> roots, targets;
  for (size_t i = 0; i < outputs.size(); ++i) {
    roots.push_back(Tape::node_of(outputs[i]));
    check(roots.back() != nullptr, "grad", "output ", i, " depends on nothing that wants a gradient");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    targets.push_back(Tape::node_of(inputs[i]));
    check(targets.back() != nullptr, "grad", "input ", i, " does not want a gradient (see requires_grad)");
  }
  Traversal traversal(roots, targets);
  for (size_t i = 0; i < outputs.size(); ++i)
    traversal.seed(roots[i], seed_for("grad", outputs[i], seeds.empty() ? Tensor() : seeds[i]));
  traversal.run(targets, keep_tape);
  std::vector<Tensor> result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto found = traversal.gradients().find(targets[i].get());
    check(found != traversal.gradients().end(), "grad", "there is no path from the outputs to input ", i);
    result.push_back(found->second);
  }
  return result;
}

}  // namespace tw
