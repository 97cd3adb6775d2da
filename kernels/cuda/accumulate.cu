// y += x (map.h).
#include "kernels/cuda/map.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

template <class V>
struct Sum {
  __device__ V operator()(V x, V y) const { return x + y; }
};

}  // namespace

TW_CUDA_EXPORT tw_cuda_accumulate(const View* x, const View* y) {
  return for_float("accumulate", x->dtype, [&]<class T>(T) {
    return map<T>("accumulate", Sum<typename Element<T>::Value>{}, y->numel(), y->pointer,
                  static_cast<const char*>(x->pointer), static_cast<const char*>(y->pointer));
  });
}

}  // namespace tw::cuda
