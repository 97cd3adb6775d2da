// Rows that are contiguous on both sides and of one type go through memcpy.
#include "kernels/op/copy.h"

#include <cstring>
#include <type_traits>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/copy.h"
#include "kernels/cpu/strided_loop.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain = 16384;  // elements a thread should have at least

template <class T>
constexpr bool is_short_float = std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

template <class To, class From>
[[gnu::always_inline]] inline To convert(From value) {
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (is_short_float<From>)
    return convert<To>(static_cast<float>(value));
  else if constexpr (is_short_float<To>)
    return To(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

void check_there(const char* op, const Argument& argument) {
  check(argument.view.pointer != nullptr, op, argument.name, " is missing");
}

template <class To, class From>
void run(const StridedLoop& loop, const From* x, To* y, int64_t begin, int64_t end) {
  const int64_t step_x = loop.inner_stride(0), step_y = loop.inner_stride(1);
  for_each_run<2>(loop, begin, end, [&](int64_t, int64_t length, const int64_t* offsets) {
    const From* from = x + offsets[0];
    To* to = y + offsets[1];
    if (step_x == 1 && step_y == 1) {
      if constexpr (std::is_same_v<To, From>)
        std::memcpy(static_cast<void*>(to), from, static_cast<size_t>(length) * sizeof(To));
      else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, bf16>)
        active<CastKernels>().to_bf16(from, to, length);
      else if constexpr (std::is_same_v<From, bf16> && std::is_same_v<To, float>)
        active<CastKernels>().from_bf16(from, to, length);
      else
        for (int64_t i = 0; i < length; ++i) to[i] = convert<To>(from[i]);
    } else {
      for (int64_t i = 0; i < length; ++i) to[i * step_y] = convert<To>(from[i * step_x]);
    }
  });
}

}  // namespace

void copy(const View& x, const View& y) {
  const OpTimer timer("copy", x, y);
  check_there("copy", {"x", x});
  check_there("copy", {"y", y});
  check_shape("copy", {"y", y}, x.shape);
  const Device device = device_of("copy", {{"x", x}, {"y", y}});
  const StridedLoop loop = strided_loop(y.shape, {x.strides, y.strides});
  if (device == Device::cuda) return cuda::call("tw_cuda_strided_copy", loop, x, y);
  visit(y.dtype, [&]<class To>(To) {
    visit(x.dtype, [&]<class From>(From) {
      const From* from = static_cast<const From*>(x.pointer);
      To* to = static_cast<To*>(y.pointer);
      parallel_for(loop.numel, grain, [&](int64_t begin, int64_t end) { run(loop, from, to, begin, end); });
    });
  });
}

void fill(double value, const View& y) {
  const OpTimer timer("fill", y);
  check_there("fill", {"y", y});
  if (y.device == Device::cuda)
    return cuda::call("tw_cuda_strided_fill", strided_loop(y.shape, {y.strides}), value, y);
  View one{&value, DType::f64, Device::cpu, y.shape, y.shape};
  for (int i = 0; i < y.rank(); ++i) one.strides[i] = 0;
  copy(one, y);
}

}  // namespace tw::kernels
