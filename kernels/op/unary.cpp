#include "kernels/op/unary.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/unary.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain = 16384;  // elements a thread should have at least: about 2 us of work

}  // namespace

const char* unary_name(Unary kind) {
  switch (kind) {
    case Unary::affine:
      return "affine";
    case Unary::exp:
      return "exp";
    case Unary::log:
      return "log";
    case Unary::sqrt:
      return "sqrt";
    case Unary::square:
      return "square";
    case Unary::abs:
      return "abs";
    case Unary::clamp:
      return "clamp";
  }
  return "?";
}

UnarySaves unary_saves(Unary kind) {
  if (kind == Unary::affine) return UnarySaves::nothing;
  return kind == Unary::exp || kind == Unary::sqrt ? UnarySaves::y : UnarySaves::x;
}

void unary_forward(const UnaryParams& params, const View& x, const View& y) {
  const char* op = unary_name(params.kind);
  const OpTimer timer(op, x, y);
  const Device device = device_of(op, {{"x", x}, {"y", y}});
  check_same(op, {{"x", x}, {"y", y}}, device);
  if (device == Device::cuda) return cuda::call("tw_cuda_unary_forward", params, x, y);
  const auto run = active<UnaryKernels>().forward;
  parallel_for(x.numel(), grain,
               [&](int64_t begin, int64_t end) { run(params, x.dtype, x.pointer, y.pointer, begin, end); });
}

void unary_backward(const UnaryParams& params, const View& saved, const View& dy, const View& dx) {
  const char* op = unary_name(params.kind);
  const OpTimer timer(op, saved, dy, dx);
  const Device device = device_of(op, {{"saved", saved}, {"dy", dy}, {"dx", dx}});
  check_same(op, {{"saved", saved}, {"dy", dy}, {"dx", dx}}, device);
  if (device == Device::cuda) return cuda::call("tw_cuda_unary_backward", params, saved, dy, dx);
  const auto run = active<UnaryKernels>().backward;
  parallel_for(dy.numel(), grain, [&](int64_t begin, int64_t end) {
    run(params, dy.dtype, saved.pointer, dy.pointer, dx.pointer, begin, end);
  });
}

}  // namespace tw::kernels
