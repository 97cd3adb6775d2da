// Argument checks that the ops share. Each throws tw::Error naming the op, the argument, what was expected
// and what was found.
#pragma once

#include <initializer_list>

#include "tensor/view.h"

namespace tw::kernels {

struct Argument {
  const char* name;
  const View& view;
};

// All on the CPU, contiguous, of one shape and one dtype among f32, f64 and bf16.
void check_same(const char* op, std::initializer_list<Argument> arguments);

// The argument is there, on the CPU, contiguous, of dtype f32, f64 or bf16.
void check_dense(const char* op, const Argument& argument);

// The same with any strides.
void check_strided(const char* op, const Argument& argument);

void check_shape(const char* op, const Argument& argument, const Shape& expected);
void check_dtype(const char* op, const Argument& argument, DType expected);

}  // namespace tw::kernels
