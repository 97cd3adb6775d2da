#include "kernels/op/checks.h"

namespace tw::kernels {

void check_strided(const char* op, const Argument& argument) {
  const View& v = argument.view;
  check(v.pointer != nullptr, op, argument.name, " is missing");
  check(v.device == Device::cpu, op, argument.name, " is on ", device_name(v.device),
        "; this op runs on the cpu only");
  check(v.dtype == DType::f32 || v.dtype == DType::f64 || v.dtype == DType::bf16, op, argument.name,
        " must be f32, f64 or bf16, found ", dtype_name(v.dtype));
}

void check_dense(const char* op, const Argument& argument) {
  check_strided(op, argument);
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

void check_same(const char* op, std::initializer_list<Argument> arguments) {
  const View& first = arguments.begin()->view;
  for (const Argument& argument : arguments) {
    check_dense(op, argument);
    check_shape(op, argument, first.shape);
    check_dtype(op, argument, first.dtype);
  }
}

}  // namespace tw::kernels
