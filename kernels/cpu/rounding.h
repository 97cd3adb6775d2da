// Whole blocks of b: how many a needs, and how much they hold.
#pragma once

#include <cstdint>

namespace tw::kernels {

[[gnu::always_inline]] inline constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
[[gnu::always_inline]] inline constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

}  // namespace tw::kernels
