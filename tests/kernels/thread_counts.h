// Runs something with one thread and with two, for tests that results do not depend on the number.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/cpu/thread_pool.h"
#include "tensor/tensor.h"

namespace tw {

// f() returns a Tensor; the two results must agree bit for bit.
template <class F>
void expect_same_with_two_threads(F f) {
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const Tensor one = f().contiguous();
  kernels::set_thread_count(2);
  const Tensor two = f().contiguous();
  kernels::set_thread_count(before);
  ASSERT_EQ(one.shape(), two.shape());
  EXPECT_EQ(std::memcmp(one.view().pointer, two.view().pointer, one.nbytes()), 0)
      << "results differ between one and two threads";
}

}  // namespace tw
