// Reverse accumulation (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3).
#include "autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "kernels/op/accumulate.h"
#include "tensor/error.h"

namespace tw {
namespace {

std::atomic<uint64_t> newest{0};

// sum += term, in place if nobody else holds sum. Where dtypes differ (a weight used in f32 and in bf16) the
// wider one is kept.
void accumulate_into(Tensor& sum, const Tensor& term) {
  if (!sum.defined()) {
    sum = term;
    return;
  }
  const DType wider = dtype_size(term.dtype()) > dtype_size(sum.dtype()) ? term.dtype() : sum.dtype();
  if (sum.dtype() != wider)
    sum = sum.to(wider);
  else if (sum.storage().use_count() > 1 || !sum.is_contiguous())
    sum = sum.clone();
  kernels::accumulate(term.to(wider).contiguous().view(), sum.view());
  sum.bump_version();
}

}  // namespace

// A node that dies while another one is being taken apart queues what it held, so that the depth of the
// stack does not grow with the length of the chain.
Node::~Node() {
  using Remains = std::pair<Nodes, Backward>;
  thread_local std::vector<Remains>* queue = nullptr;
  if (inputs.empty() && !backward) return;
  if (queue) {
    queue->emplace_back(std::move(inputs), std::move(backward));
    return;
  }
  std::vector<Remains> pending;
  queue = &pending;
  pending.emplace_back(std::move(inputs), std::move(backward));
  while (!pending.empty()) {
    const Remains next = std::move(pending.back());
    pending.pop_back();
  }
  queue = nullptr;
}

std::shared_ptr<Node> Node::leaf(const Shape& shape) {
  auto node = std::make_shared<Node>();
  node->shape = shape;
  return node;
}

std::shared_ptr<Node> Node::result(const char* op, const Shape& shape, Backward backward) {
  auto node = std::make_shared<Node>();
  node->op = op;
  node->order = ++newest;
  node->shape = shape;
  node->backward = std::move(backward);
  return node;
}

uint64_t Node::last_order() { return newest; }

class Traversal::Sink : public Gradients {
 public:
  Sink(Traversal& traversal, Node& node) : traversal_(traversal), node_(node) {}
  bool wanted(int input) const override {
    Node* target = node_.inputs.at(static_cast<size_t>(input)).get();
    return target && traversal_.wanted(target);
  }
  void add(int input, const Tensor& gradient) override {
    if (!wanted(input)) return;
    Node* target = node_.inputs.at(static_cast<size_t>(input)).get();
    check(gradient.shape() == target->shape, node_.op, "gradient of input ", input, " is ", gradient.shape(),
          ", the input is ", target->shape);
    traversal_.add(target, gradient);
  }

 private:
  Traversal& traversal_;
  Node& node_;
};

Traversal::Traversal(const Nodes& roots, const Nodes& targets, const Nodes& border)
    : restricted_(!targets.empty()) {
  for (const auto& target : targets) targets_.insert(target.get());
  std::unordered_set<Node*> seen, closed;
  for (const auto& node : border) closed.insert(node.get());
  Nodes pending;
  auto visit = [&](const std::shared_ptr<Node>& node) {
    if (node && seen.insert(node.get()).second) pending.push_back(node);
  };
  for (const auto& root : roots) visit(root);
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    order_.push_back(node);
    if (closed.count(node.get())) continue;
    for (const auto& input : node->inputs) visit(input);
  }
  std::sort(order_.begin(), order_.end(), [](const auto& a, const auto& b) { return a->order > b->order; });
  if (!restricted_) return;
  for (auto it = order_.rbegin(); it != order_.rend(); ++it) {  // oldest first: inputs before their users
    if (closed.count(it->get())) continue;
    for (const auto& input : (*it)->inputs)
      if (input && wanted(input.get())) asked_.insert(it->get());
  }
}

void Traversal::seed(const std::shared_ptr<Node>& root, const Tensor& gradient) {
  if (wanted(root.get())) add(root.get(), gradient);
}

void Traversal::add(Node* node, const Tensor& gradient) {
  accumulate_into(!restricted_ && node->is_leaf() ? node->gradient : gradients_[node], gradient);
}

void Traversal::run(bool keep_tape) {
  for (const auto& node : order_) {
    if (node->is_leaf() || (restricted_ && !asked_.count(node.get()))) continue;
    auto found = gradients_.find(node.get());
    if (found == gradients_.end()) continue;
    check(!node->freed, "backward", "the tape of '", node->op,
          "' was freed by an earlier backward; pass keep_tape to the first one");
    Tensor dy = found->second;
    if (!targets_.count(node.get())) gradients_.erase(found);
    Sink sink(*this, *node);
    node->backward(dy.contiguous(), sink);
    if (!keep_tape) {
      node->backward = nullptr;  // what it saved goes now
      node->freed = true;
    }
  }
  if (restricted_) return;
  // A leaf's gradient belongs to the leaf alone: an optimiser may change it in place.
  for (auto node = order_.rbegin(); node != order_.rend() && (*node)->is_leaf(); ++node) {
    Tensor& gradient = (*node)->gradient;
    if (gradient.defined() && (gradient.storage().use_count() > 1 || !gradient.is_contiguous()))
      gradient = gradient.clone();
  }
}

Tensor Traversal::gradient(const std::shared_ptr<Node>& target) const {
  const auto found = gradients_.find(target.get());
  return found == gradients_.end() ? Tensor() : found->second;
}

Tensor seed_for(const char* where, const Var& output, const Tensor& seed) {
  if (seed.defined()) {
    check(seed.shape() == output.shape(), where, "the seed is ", seed.shape(), ", the output ",
          output.shape());
    check(seed.device() == output.device(), where, "the seed is on ", device_name(seed.device()),
          ", the output on ", device_name(output.device()));
    return seed.to(output.dtype());
  }
  check(output.value().numel() == 1, where, "the output ", output.shape(),
        " is not a single number: give a seed of its shape");
  return Tensor::full(output.shape(), 1, output.dtype(), output.device());
}

void backward(const Var& output, const Tensor& seed, bool keep_tape) {
  const auto root = Tape::node_of(output);
  check(root != nullptr, "backward", "the output depends on nothing that wants a gradient");
  NoGrad no_grad;
  Traversal traversal({root}, {});
  traversal.seed(root, seed_for("backward", output, seed));
  traversal.run(keep_tape);
}

std::vector<Tensor> grad(const std::vector<Var>& outputs, const std::vector<Var>& inputs,
                         const std::vector<Tensor>& seeds, bool keep_tape) {
  check(!outputs.empty() && !inputs.empty(), "grad", outputs.size(), " outputs and ", inputs.size(),
        " inputs given");
  check(seeds.empty() || seeds.size() == outputs.size(), "grad", seeds.size(), " seeds given for ",
        outputs.size(), " outputs");
  NoGrad no_grad;
  Nodes roots, targets;
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
  traversal.run(keep_tape);
  std::vector<Tensor> result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    result.push_back(traversal.gradient(targets[i]).contiguous());
    check(result.back().defined(), "grad", "there is no path from the outputs to input ", i);
  }
  return result;
}

}  // namespace tw
