#include "kernels/op/checks.h"

namespace tw::kernels {

Device device_of(const char* op, std::initializer_list<Argument> arguments) {
  const Argument* first = nullptr;
  for (const Argument& argument : arguments) {
    if (!argument.view) continue;
    if (!first) first = &argument;
    check(argument.view.device == first->view.device, op, first->name, " is on ",
          device_name(first->view.device), " and ", argument.name, " on ", device_name(argument.view.device));
  }
  return first ? first->view.device : Device::cpu;
}

void check_strided(const char* op, const Argument& argument, Device device) {
  const View& v = argument.view;
  check(v.pointer != nullptr, op, argument.name, " is missing");
  check(v.device == device, op, argument.name, " is on ", device_name(v.device), "; this op runs on the ",
        device_name(device), " only");
  const bool half = device == Device::cuda && v.dtype == DType::f16;
  check(v.dtype == DType::f32 || v.dtype == DType::f64 || v.dtype == DType::bf16 || half, op, argument.name,
        " must be f32, f64 or bf16, found ", dtype_name(v.dtype));
}

void check_dense(const char* op, const Argument& argument, Device device) {
  check_strided(op, argument, device);
  check(argument.view.is_contiguous(), op, argument.name, " ", argument.view.shape, " is not contiguous");
}

void check_shape(const char* op, const Argument& argument, const Shape& expected) {
  check(argument.view.shape == expected, op, argument.name, " must be ", expected, ", found ",
        argument.view.shape);
}

void check_dtype(const char* op, const Argument& argument, DType expected) {
  check(argument.view.dtype == expected, op, argument.name, " must be ", dtype_name(expected), ", found ",
        dtype_name(argument.view.dtype));
}

void check_same(const char* op, std::initializer_list<Argument> arguments, Device device) {
  const View& first = arguments.begin()->view;
  for (const Argument& argument : arguments) {
    check_dense(op, argument, device);
    check_shape(op, argument, first.shape);
    check_dtype(op, argument, first.dtype);
  }
}

}  // namespace tw::kernels
