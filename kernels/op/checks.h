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

// The device that all arguments that are there lie on; throws naming two that do not share one.
Device device_of(const char* op, std::initializer_list<Argument> arguments);

// All on `device`, contiguous, of one shape and one dtype among f32, f64 and bf16; on CUDA f16 too.
void check_same(const char* op, std::initializer_list<Argument> arguments, Device device = Device::cpu);

// The argument is there, on `device`, contiguous, of one of these dtypes.
void check_dense(const char* op, const Argument& argument, Device device = Device::cpu);

// The same with any strides.
void check_strided(const char* op, const Argument& argument, Device device = Device::cpu);

void check_shape(const char* op, const Argument& argument, const Shape& expected);
void check_dtype(const char* op, const Argument& argument, DType expected);

}  // namespace tw::kernels
