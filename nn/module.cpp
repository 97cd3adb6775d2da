#include "nn/module.h"

#include "tensor/error.h"
#include "tensor/transfer.h"

namespace tw {

template <class F>
void Module::visit(const std::string& prefix, F&& f) const {
  f(prefix, *this);
  for (const auto& [name, module] : children_) module->visit(prefix + name + ".", f);
}

std::vector<Parameter> Module::parameters() const {
  std::vector<Parameter> all;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const Parameter& p : module.parameters_) all.push_back({prefix + p.name, p.value, p.initialiser});
  });
  return all;
}

std::vector<Buffer> Module::buffers() const {
  std::vector<Buffer> all;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const Buffer& b : module.buffers_) all.push_back({prefix + b.name, b.value});
  });
  return all;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const Parameter& p : parameters()) count += p.value.value().numel();
  return count;
}

void Module::initialise(uint64_t seed) {
  const AllocatorScope scope(system_allocator());
  for (Parameter& p : parameters()) {
    const DType dtype = p.value.dtype();
    p.value.mutable_value() =
        to_device(initial_values(p.initialiser, p.value.shape(), seed, p.name).to(dtype), p.value.device());
  }
}

void Module::train(bool on) {
  training_ = on;
  for (const auto& [name, module] : children_) module->train(on);
}

void Module::freeze(bool on) {
  for (Parameter& p : parameters()) p.value.set_requires_grad(!on);
}

void Module::keep_only_packed(WeightUse use) {
  for (const auto& [name, module] : children_) module->keep_only_packed(use);
}

void Module::clear_gradients() {
  for (Parameter& p : parameters()) p.value.clear_grad();
}

void Module::to(DType dtype) {
  const AllocatorScope scope(system_allocator());
  for (Parameter& p : parameters()) p.value.mutable_value() = p.value.value().to(dtype);
}

void Module::to(Device device) {
  const AllocatorScope scope(lasting_allocator(device));
  for (Parameter& p : parameters()) {
    p.value.mutable_value() = to_device(p.value.value(), device);
    p.value.clear_grad();
  }
  for (const Buffer& b : buffers()) *b.value = to_device(*b.value, device);
}

Var Module::parameter(const std::string& name, const Shape& shape, const Initialiser& initialiser) {
  check_new(name);
  const AllocatorScope scope(
      system_allocator());  // it lives as long as the network: the pool has no use for it
  parameters_.push_back({name, Var::leaf(Tensor::empty(shape)), initialiser});
  return parameters_.back().value;
}

void Module::buffer(const std::string& name, Tensor& value) {
  check_new(name);
  buffers_.push_back({name, &value});
}

void Module::child(const std::string& name, Module& module) {
  check_new(name);
  module.name_ = name;
  children_.emplace_back(name, &module);
}

void Module::check_new(const std::string& name) const {
  bool taken = false;
  for (const Parameter& p : parameters_) taken |= p.name == name;
  for (const Buffer& b : buffers_) taken |= b.name == name;
  for (const auto& [other, module] : children_) taken |= other == name;
  check(!taken, "module", "'", name, "' is registered twice");
}

}  // namespace tw
