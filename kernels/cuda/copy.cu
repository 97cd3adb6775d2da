// y[i] = x[i] with any strides and dtypes, and y[i] = value.
#include "kernels/cuda/element.h"
#include "kernels/cuda/strided.h"
#include "kernels/op/copy.h"

namespace tw::cuda {
namespace {

using kernels::StridedLoop;

// What holds an element in device memory.
template <class T>
struct Stored {
  using Type = T;
};
template <>
struct Stored<bf16> {
  using Type = __nv_bfloat16;
};
template <>
struct Stored<f16> {
  using Type = __half;
};

template <class To, class From>
__device__ To convert(From value) {
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (std::is_same_v<From, __nv_bfloat16>)
    return convert<To>(__bfloat162float(value));
  else if constexpr (std::is_same_v<From, __half>)
    return convert<To>(__half2float(value));
  else if constexpr (std::is_same_v<To, __nv_bfloat16>)
    return __float2bfloat16_rn(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, __half>)
    return __float2half_rn(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

template <class From, class To>
__global__ void copy_kernel(StridedLoop loop, const From* x, To* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < loop.numel; i += step) {
    const auto offsets = offsets_of<2>(loop, i);
    y[offsets.at[1]] = convert<To>(x[offsets.at[0]]);
  }
}

template <class To>
__global__ void strided_fill_kernel(StridedLoop loop, double value, To* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < loop.numel; i += step)
    y[offsets_of<1>(loop, i).at[0]] = convert<To>(value);
}

bool dense(const StridedLoop& loop) {
  return loop.rank == 1 && loop.inner_stride(0) == 1 && loop.inner_stride(1) == 1;
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_strided_copy(const StridedLoop* loop, const View* x, const View* y) {
  if (loop->numel == 0) return nullptr;
  if (x->dtype == y->dtype && dense(*loop)) {
    TW_CUDA_TRY(cudaMemcpyAsync(y->pointer, x->pointer,
                                static_cast<size_t>(loop->numel) * dtype_size(x->dtype),
                                cudaMemcpyDeviceToDevice, stream()));
    return nullptr;
  }
  visit(x->dtype, [&]<class From>(From) {
    visit(y->dtype, [&]<class To>(To) {
      using X = typename Stored<From>::Type;
      using Y = typename Stored<To>::Type;
      launch(copy_kernel<X, Y>, blocks_for(loop->numel), threads, *loop, static_cast<const X*>(x->pointer),
             static_cast<Y*>(y->pointer));
    });
  });
  return launched("copy");
}

// From the tensor layer, which knows no StridedLoop and has merged what dimensions it could.
TW_CUDA_EXPORT tw_cuda_copy_within(const View* to, const View* from) {
  StridedLoop loop;
  loop.rank = to->rank();
  loop.numel = to->numel();
  for (int i = 0; i < loop.rank; ++i) {
    loop.extent[i] = to->shape[i];
    loop.stride[0][i] = from->strides[i];
    loop.stride[1][i] = to->strides[i];
  }
  return tw_cuda_strided_copy(&loop, from, to);
}

TW_CUDA_EXPORT tw_cuda_strided_fill(const StridedLoop* loop, const double* value, const View* y) {
  if (loop->numel == 0) return nullptr;
  visit(y->dtype, [&]<class To>(To) {
    using Y = typename Stored<To>::Type;
    launch(strided_fill_kernel<Y>, blocks_for(loop->numel), threads, *loop, *value,
           static_cast<Y*>(y->pointer));
  });
  return launched("fill");
}

}  // namespace tw::cuda
