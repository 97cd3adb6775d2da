// The first run records the structure of the segment only, to find the captured Vars that it depends on:
// these become inputs of the one node that stands for the segment on the outer tape.
#include "autograd/checkpoint.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "autograd/tape.h"
#include "tensor/error.h"

namespace tw {
namespace {

using Segment = std::function<Var(const std::vector<Var>&)>;

struct Call {
  std::vector<Var> inputs;  // leaves of the segment's own tape
  Var y;
  Nodes captured;  // nodes recorded before the call that y depends on, oldest first
};

Call call(const Segment& f, const std::vector<Tensor>& values, const std::vector<bool>& wanted,
          Recording mode) {
  const uint64_t start = Node::last_order();
  Call result;
  for (size_t i = 0; i < values.size(); ++i)
    result.inputs.push_back(values[i].defined() ? Var::leaf(values[i], wanted[i]) : Var());
  const RecordingScope scope(mode);
  result.y = f(result.inputs);
  const auto root = Tape::node_of(result.y);
  if (!root) return result;
  std::unordered_set<Node*> seen;
  for (const Var& input : result.inputs) seen.insert(Tape::node_of(input).get());
  Nodes pending{root};
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    if (!node || !seen.insert(node.get()).second) continue;
    if (node->is_leaf() || node->order <= start)
      result.captured.push_back(node);
    else
      pending.insert(pending.end(), node->inputs.begin(), node->inputs.end());
  }
  return result;
}

// Runs the segment again and gives the gradients that the outer node is asked for.
void backward_through(const Segment& f, const std::vector<Saved>& inputs, const std::vector<bool>& wanted,
                      const Nodes& captured, const Tensor& dy, Gradients& grads) {
  std::vector<Tensor> values;
  std::vector<bool> asked;
  for (size_t i = 0; i < inputs.size(); ++i) {
    values.push_back(inputs[i].get());
    asked.push_back(wanted[i] && grads.wanted(static_cast<int>(i)));
  }
  const Call again = call(f, values, asked, Recording::on);
  check(again.y.shape() == dy.shape(), "checkpoint", "the second run gave ", again.y.shape(), ", the first ",
        dy.shape());
  for (const auto& node : again.captured)
    check(std::find(captured.begin(), captured.end(), node) != captured.end(), "checkpoint",
          "the second run depends on a '", node->op, "' of shape ", node->shape,
          " that the first one did not depend on");
  const auto root = Tape::node_of(again.y);
  if (!root) return;

  std::vector<std::pair<int, std::shared_ptr<Node>>> targets;  // position among the outer node's inputs
  Nodes ends;
  auto add_target = [&](size_t position, const std::shared_ptr<Node>& node) {
    if (!node || !grads.wanted(static_cast<int>(position))) return;
    targets.emplace_back(static_cast<int>(position), node);
    ends.push_back(node);
  };
  for (size_t i = 0; i < inputs.size(); ++i) add_target(i, Tape::node_of(again.inputs[i]));
  for (size_t i = 0; i < captured.size(); ++i) add_target(inputs.size() + i, captured[i]);
  if (ends.empty()) return;
  // What was recorded before the segment is not walked from here, wanted or not: cut at every captured node.
  Traversal traversal({root}, ends, captured);
  traversal.seed(root, dy);
  traversal.run(/*keep_tape=*/false);
  for (const auto& [position, node] : targets) {
    const Tensor gradient = traversal.gradient(node);
    if (gradient.defined()) grads.add(position, gradient);
  }
}

}  // namespace

Var checkpoint(const Segment& f, const std::vector<Var>& inputs) {
  if (!grad_enabled()) return f(inputs);
  std::vector<Tensor> values;
  std::vector<bool> wanted;
  Nodes nodes;
  std::vector<Saved> saved;
  for (const Var& input : inputs) {
    values.push_back(input.defined() ? input.value() : Tensor());
    wanted.push_back(input.requires_grad());
    nodes.push_back(Tape::node_of(input));
    saved.emplace_back(values.back());
  }
  const Call first = call(f, values, wanted, Recording::structure);
  if (!first.y.requires_grad()) return first.y;
  nodes.insert(nodes.end(), first.captured.begin(), first.captured.end());
  return Tape::record("checkpoint", first.y.value(), nodes,
                      [f, saved, wanted, captured = first.captured](const Tensor& dy, Gradients& grads) {
                        backward_through(f, saved, wanted, captured, dy, grads);
                      });
}

}  // namespace tw
