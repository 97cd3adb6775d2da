// Shapes are merged to the shortest loop nest; threads share the elements of y evenly.
#include "kernels/op/binary.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/binary.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain = 16384;  // elements a thread should have at least: about 2 us of work

}  // namespace

const char* binary_name(Binary kind) {
  switch (kind) {
    case Binary::add:
      return "add";
    case Binary::sub:
      return "sub";
    case Binary::mul:
      return "mul";
    case Binary::div:
      return "div";
  }
  return "?";
}

void binary(Binary kind, const View& a, const View& b, const View& y) {
  const char* op = binary_name(kind);
  const OpTimer timer(op, a, b, y);
  const Device device = device_of(op, {{"a", a}, {"b", b}, {"y", y}});
  check_strided(op, {"a", a}, device);
  check_strided(op, {"b", b}, device);
  check_dtype(op, {"b", b}, a.dtype);
  check_dense(op, {"y", y}, device);
  check_dtype(op, {"y", y}, a.dtype);
  check_shape(op, {"y", y}, broadcast_shapes(op, a.shape, b.shape));
  const StridedLoop loop = strided_loop(y.shape, {broadcast_strides(a.shape, a.strides, y.shape),
                                                  broadcast_strides(b.shape, b.strides, y.shape), y.strides});
  if (device == Device::cuda) return cuda::call("tw_cuda_binary", kind, loop, a, b, y);
  const auto run = active<BinaryKernels>().run;
  parallel_for(loop.numel, grain, [&](int64_t begin, int64_t end) {
    run(kind, loop, y.dtype, a.pointer, b.pointer, y.pointer, begin, end);
  });
}

}  // namespace tw::kernels
