// y[o] = sum over t of weight[o, t] x[first[o] + t] along one axis, one thread an element.
#include "kernels/cuda/element.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

// Where the table is and what it maps.
struct Table {
  const int32_t *first, *count;
  const double* weight;
  int64_t taps, in, out, inner;
};

template <class X, class Y>
__global__ void resize_kernel(Table table, const typename Element<X>::Memory* x, int64_t n,
                              typename Element<Y>::Memory* y) {
  using V = typename Element<X>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t column = i % table.inner, row = i / table.inner, o = row % table.out;
    const auto* from = x + (row / table.out * table.in + table.first[o]) * table.inner + column;
    V sum = 0;
    for (int64_t t = 0; t < table.count[o]; ++t)
      sum += static_cast<V>(table.weight[o * table.taps + t]) * Element<X>::load(from[t * table.inner]);
    y[i] = Element<Y>::store(static_cast<typename Element<Y>::Value>(sum));
  }
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_resize_axis(const View* x, const View* first, const View* count, const View* weight,
                                   const View* y) {
  if (y->numel() == 0) return nullptr;
  const Table table{static_cast<const int32_t*>(first->pointer),
                    static_cast<const int32_t*>(count->pointer),
                    static_cast<const double*>(weight->pointer),
                    weight->shape[1],
                    x->shape[1],
                    y->shape[1],
                    y->shape[2]};
  return for_float("resize", x->dtype, [&]<class X>(X) {
    return for_float("resize", y->dtype, [&]<class Y>(Y) {
      launch(resize_kernel<X, Y>, blocks_for(y->numel()), threads, table,
             static_cast<const typename Element<X>::Memory*>(x->pointer), y->numel(),
             static_cast<typename Element<Y>::Memory*>(y->pointer));
      return launched("resize");
    });
  });
}

}  // namespace tw::cuda
