// For tests of what is made of many ops.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensor/error.h"

namespace tw {

// Runs a test's body. An op that CUDA lacks says so by name: then the test is skipped with that text.
template <class F>
void unless_cuda_lacks_an_op(const F& body) {
  try {
    body();
  } catch (const Error& error) {
    ASSERT_THAT(error.what(), testing::HasSubstr("runs on the cpu only"));
    GTEST_SKIP() << error.what();
  }
}

}  // namespace tw
