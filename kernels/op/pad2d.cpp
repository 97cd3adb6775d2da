// Threads share rows; both directions gather, so that no two threads write to one pixel. Almost all of the
// work is one copy a row.
#include "kernels/op/pad2d.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/accumulate.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain_elements = 16384;

// The source of position i - before of an axis of `extent`; -1 for a zero.
int64_t source(PadMode mode, int64_t i, int64_t before, int64_t extent) {
  const int64_t at = i - before;
  if (at >= 0 && at < extent) return at;
  switch (mode) {
    case PadMode::zero:
      return -1;
    case PadMode::reflect:
      return at < 0 ? -at : 2 * (extent - 1) - at;
    case PadMode::replicate:
      return at < 0 ? 0 : extent - 1;
  }
  return -1;
}

void check_pad(const Pad2dParams& p, const View& x, const View& y) {
  const Device device = device_of("pad2d", {{"x", x}, {"y", y}});
  check_dense("pad2d", {"x", x}, device);
  check_dense("pad2d", {"y", y}, device);
  check_dtype("pad2d", {"y", y}, x.dtype);
  check(x.rank() == 4, "pad2d", "expected (n, h, w, c), found ", x.shape);
  check(p.top >= 0 && p.bottom >= 0 && p.left >= 0 && p.right >= 0, "pad2d",
        "pads must not be negative, found ", p.top, ", ", p.bottom, ", ", p.left, ", ", p.right);
  const int64_t h = x.shape[1], w = x.shape[2];
  check(p.mode != PadMode::reflect || (std::max(p.top, p.bottom) < h && std::max(p.left, p.right) < w),
        "pad2d", "reflection needs pads smaller than the image, found ", p.top, ", ", p.bottom, ", ", p.left,
        ", ", p.right, " for ", x.shape);
  check(p.mode != PadMode::replicate || (h > 0 && w > 0), "pad2d", "of an empty image ", x.shape);
  check_shape("pad2d", {"y", y}, {x.shape[0], h + p.top + p.bottom, w + p.left + p.right, x.shape[3]});
}

char* element(const View& v, int64_t offset) {
  return static_cast<char*>(v.pointer) + offset * static_cast<int64_t>(dtype_size(v.dtype));
}

int64_t grain_for(int64_t row) { return grain_elements / std::max<int64_t>(1, row) + 1; }

}  // namespace

void pad2d_forward(const Pad2dParams& p, const View& x, const View& y) {
  const OpTimer timer("pad2d_forward", x, y);
  check_pad(p, x, y);
  if (x.device == Device::cuda) return cuda::call("tw_cuda_pad2d_forward", p, x, y);
  const int64_t h = x.shape[1], w = x.shape[2], c = x.shape[3], ho = y.shape[1], wo = y.shape[2];
  const size_t pixel = static_cast<size_t>(c) * dtype_size(x.dtype);
  parallel_for(x.shape[0] * ho, grain_for(wo * c), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t i = source(p.mode, r % ho, p.top, h);
      if (i < 0) {
        std::memset(element(y, r * wo * c), 0, static_cast<size_t>(wo) * pixel);
        continue;
      }
      const int64_t in = (r / ho * h + i) * w, out = r * wo;
      auto edge = [&](int64_t column) {
        const int64_t j = source(p.mode, column, p.left, w);
        if (j < 0)
          std::memset(element(y, (out + column) * c), 0, pixel);
        else
          std::memcpy(element(y, (out + column) * c), element(x, (in + j) * c), pixel);
      };
      for (int64_t column = 0; column < p.left; ++column) edge(column);
      std::memcpy(element(y, (out + p.left) * c), element(x, in * c), static_cast<size_t>(w) * pixel);
      for (int64_t column = p.left + w; column < wo; ++column) edge(column);
    }
  });
}

void pad2d_backward(const Pad2dParams& p, const View& dy, const View& dx) {
  const OpTimer timer("pad2d_backward", dy, dx);
  check_pad(p, dx, dy);
  if (dx.device == Device::cuda) return cuda::call("tw_cuda_pad2d_backward", p, dy, dx);
  const int64_t h = dx.shape[1], w = dx.shape[2], c = dx.shape[3], ho = dy.shape[1], wo = dy.shape[2];
  if (p.mode == PadMode::zero) {
    const size_t row = static_cast<size_t>(w * c) * dtype_size(dx.dtype);
    for (int64_t r = 0; r < dx.shape[0] * h; ++r)
      std::memcpy(element(dx, r * w * c), element(dy, ((r / h * ho + p.top + r % h) * wo + p.left) * c), row);
    return;
  }
  const auto accumulate = active<AccumulateKernels>().run;
  const size_t row_bytes = static_cast<size_t>(w * c) * dtype_size(dx.dtype);
  parallel_for(dx.shape[0] * h, grain_for(w * c), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t i = r % h, image = r / h * ho;
      auto add = [&](int64_t from, int64_t to, int64_t pixels) {  // dy's pixel from on, to dx's pixel to on
        accumulate({element(dy, from * c), dy.dtype, dy.device, {}, {}},
                   {element(dx, to * c), dx.dtype, dx.device, {}, {}}, 0, pixels * c);
      };
      auto add_row = [&](int64_t row, bool first) {
        const int64_t from = (image + row) * wo;
        if (first)
          std::memcpy(element(dx, r * w * c), element(dy, (from + p.left) * c), row_bytes);
        else
          add(from + p.left, r * w, w);
        for (int64_t o = 0; o < p.left; ++o) add(from + o, r * w + source(p.mode, o, p.left, w), 1);
        for (int64_t o = p.left + w; o < wo; ++o) add(from + o, r * w + source(p.mode, o, p.left, w), 1);
      };
      add_row(p.top + i, true);
      for (int64_t o = 0; o < p.top; ++o)
        if (source(p.mode, o, p.top, h) == i) add_row(o, false);
      for (int64_t o = p.top + h; o < ho; ++o)
        if (source(p.mode, o, p.top, h) == i) add_row(o, false);
    }
  });
}

}  // namespace tw::kernels
