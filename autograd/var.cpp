#include "autograd/var.h"

#include <utility>

#include "autograd/tape.h"
#include "tensor/error.h"

namespace tw {
namespace {

thread_local bool recording = true;

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

bool wants_gradient(std::initializer_list<Var> inputs) { return wants_gradient(std::vector<Var>(inputs)); }

bool wants_gradient(const std::vector<Var>& inputs) {
  if (!recording) return false;
  for (const Var& input : inputs)
    if (input.requires_grad()) return true;
  return false;
}

Var record(const char* op, Tensor y, std::vector<Var> inputs, Backward backward) {
  return Tape::record(op, std::move(y), inputs, std::move(backward));
}

Var Tape::record(const char* op, Tensor y, const std::vector<Var>& inputs, Backward backward) {
  Var result(std::move(y));
  result.state_->node = Node::result(op, result.shape(), std::move(backward));
  for (const Var& input : inputs)
    result.state_->node->inputs.push_back(input.defined() ? input.state_->node : nullptr);
  return result;
}

std::shared_ptr<Node> Tape::node_of(const Var& var) { return var.defined() ? var.state_->node : nullptr; }

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = previous_; }
bool grad_enabled() { return recording; }

}  // namespace tw
