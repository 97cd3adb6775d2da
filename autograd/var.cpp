#include "autograd/var.h"

#include <algorithm>
#include <utility>

#include "autograd/saved_log.h"
#include "autograd/tape.h"
#include "tensor/error.h"

namespace tw {
namespace {

thread_local Recording mode = Recording::on;

}  // namespace

Var::Var(Tensor value) : state_(std::make_shared<State>()) { state_->value = std::move(value); }

Var Var::leaf(Tensor value, bool requires_grad) {
  Var var(std::move(value));
  var.set_requires_grad(requires_grad);
  return var;
}

const Tensor& Var::value() const {
  check(defined(), "var", "is undefined");
  return state_->value;
}

Tensor& Var::mutable_value() {
  check(defined(), "var", "is undefined");
  return state_->value;
}

bool Var::requires_grad() const { return defined() && state_->node != nullptr; }
bool Var::is_leaf() const { return !requires_grad() || state_->node->is_leaf(); }

void Var::set_requires_grad(bool wanted) {
  check(is_leaf(), "set_requires_grad", "this is the result of '",
        defined() && state_->node ? state_->node->op : "?", "', not a leaf");
  if (wanted == requires_grad()) return;
  check(!wanted || is_floating(value().dtype()), "set_requires_grad", "a ", dtype_name(value().dtype()),
        " tensor has no gradient");
  state_->node = wanted ? Node::leaf(value().shape()) : nullptr;
}

const Tensor& Var::grad() const {
  static const Tensor none;
  if (!requires_grad()) return none;
  check(is_leaf(), "grad", "only leaves keep a gradient; ask grad(outputs, inputs) for that of a result");
  return state_->node->gradient;
}

Tensor& Var::mutable_grad() {
  check(requires_grad() && is_leaf(), "mutable_grad", "this is not a leaf that wants a gradient");
  return state_->node->gradient;
}

void Var::clear_grad() {
  if (requires_grad()) mutable_grad() = Tensor();
}

Var Var::detach() const { return Var(value()); }

const Tensor& Saved::get() const {
  check(value_.version() == version_, "backward", "a saved tensor of shape ", value_.shape(),
        " was changed in place after it was recorded (version ", version_, ", now ", value_.version(), ")");
  return value_;
}

bool wants_gradient(std::initializer_list<Var> inputs) {
  return grad_enabled() &&
         std::any_of(inputs.begin(), inputs.end(), [](const Var& input) { return input.requires_grad(); });
}

bool wants_gradient(const std::vector<Var>& inputs) {
  return grad_enabled() &&
         std::any_of(inputs.begin(), inputs.end(), [](const Var& input) { return input.requires_grad(); });
}

Var record(const char* op, Tensor y, std::vector<Var> inputs, Backward backward) {
  claim_saved(op);
  return Tape::record(op, std::move(y), inputs, std::move(backward));
}

Var Tape::record(const char* op, Tensor y, const std::vector<Var>& inputs, Backward backward) {
  Nodes nodes;
  nodes.reserve(inputs.size());
  for (const Var& input : inputs) nodes.push_back(node_of(input));
  return record(op, std::move(y), std::move(nodes), std::move(backward));
}

Var Tape::record(const char* op, Tensor y, Nodes inputs, Backward backward) {
  Var result(std::move(y));
  const bool structure = mode == Recording::structure;
  result.state_->node = Node::result(op, result.shape(), structure ? Backward() : std::move(backward));
  result.state_->node->freed = structure;
  result.state_->node->inputs = std::move(inputs);
  return result;
}

Recording recording() { return mode; }
RecordingScope::RecordingScope(Recording wanted) : previous_(std::exchange(mode, wanted)) {}
RecordingScope::~RecordingScope() { mode = previous_; }

NoGrad::NoGrad() : previous_(static_cast<int>(std::exchange(mode, Recording::off))) {}
NoGrad::~NoGrad() { mode = static_cast<Recording>(previous_); }
bool grad_enabled() { return mode != Recording::off; }

}  // namespace tw
