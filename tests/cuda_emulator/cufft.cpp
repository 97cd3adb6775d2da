// libcufft.so.12 as far as kernels/cuda/cufft.cu uses it: transforms over two axes by the definition's sums,
// in the advanced layout. What the real one refuses is refused: real data that is not aligned as complex
// numbers are, no work area. As there, half a spectrum that is made real is destroyed, and of columns that
// stand for themselves only the first half of the rows is looked at.
#include <cufft.h>

#include <complex>
#include <cstdint>
#include <map>
#include <numbers>
#include <vector>

#include "tests/cuda_emulator/block.h"

namespace {

using Number = std::complex<double>;

struct Side {
  int64_t row = 0, stride = 0, distance = 0;
  int64_t at(int64_t batch, int64_t y, int64_t x) const { return batch * distance + (y * row + x) * stride; }
};

struct Plan {
  int64_t h = 0, w = 0, batch = 0;
  Side x, y;
  cufftType type = CUFFT_C2C;
  cudaStream_t stream = nullptr;
  void* work = nullptr;
};

std::map<cufftHandle, Plan>& plans() {
  static std::map<cufftHandle, Plan> all;
  return all;
}

// Along rows, then along columns.
std::vector<Number> transformed(const std::vector<Number>& in, int64_t h, int64_t w, int direction) {
  const auto root = [&](int64_t j, int64_t n) {
    return std::polar(1.0,
                      direction * 2 * std::numbers::pi * static_cast<double>(j % n) / static_cast<double>(n));
  };
  std::vector<Number> rows(in.size()), out(in.size());
  for (int64_t y = 0; y < h; ++y)
    for (int64_t k = 0; k < w; ++k)
      for (int64_t x = 0; x < w; ++x) rows[y * w + k] += in[y * w + x] * root(x * k, w);
  for (int64_t k = 0; k < h; ++k)
    for (int64_t y = 0; y < h; ++y)
      for (int64_t x = 0; x < w; ++x) out[k * w + x] += rows[y * w + x] * root(y * k, h);
  return out;
}

template <class T, bool from_real, bool to_real>
cufftResult execute(cufftHandle handle, void* from, void* to, int direction) {
  const Plan plan = plans().at(handle);
  if (!plan.work || reinterpret_cast<uintptr_t>(from) % (2 * sizeof(T)) != 0 ||
      reinterpret_cast<uintptr_t>(to) % (2 * sizeof(T)) != 0)
    return CUFFT_INVALID_VALUE;
  emulator::enqueue(plan.stream, [=] {
    const int64_t h = plan.h, w = plan.w;
    auto *x = static_cast<T*>(from), *y = static_cast<T*>(to);
    std::vector<Number> image(static_cast<size_t>(h * w));
    for (int64_t b = 0; b < plan.batch; ++b) {
      for (int64_t r = 0; r < h; ++r)
        for (int64_t k = 0; k < w; ++k) {
          Number& z = image[static_cast<size_t>(r * w + k)];
          // Of half a spectrum the other half, and the lower rows of a column that is its own other half.
          const bool own = to_real && (k == 0 || 2 * k == w);
          const bool other = to_real && (2 * k > w || (own && 2 * r > h));
          const int64_t at = other ? plan.x.at(b, (h - r) % h, (w - k) % w) : plan.x.at(b, r, k);
          if (from_real)
            z = static_cast<double>(x[at]);
          else
            z = Number(static_cast<double>(x[2 * at]),
                       static_cast<double>(other ? -x[2 * at + 1] : x[2 * at + 1]));
        }
      image = transformed(image, h, w, direction);
      for (int64_t r = 0; r < h; ++r)
        for (int64_t k = 0; k < (from_real ? w / 2 + 1 : w); ++k) {
          const Number z = image[static_cast<size_t>(r * w + k)];
          const int64_t at = plan.y.at(b, r, k);
          if (to_real) {
            y[at] = static_cast<T>(z.real());
          } else {
            y[2 * at] = static_cast<T>(z.real());
            y[2 * at + 1] = static_cast<T>(z.imag());
          }
        }
      if (to_real)
        for (int64_t r = 0; r < h; ++r)
          for (int64_t k = 0; k < w / 2 + 1; ++k) x[2 * plan.x.at(b, r, k)] = static_cast<T>(NAN);
    }
  });
  return CUFFT_SUCCESS;
}

}  // namespace

extern "C" {

cufftResult cufftCreate(cufftHandle* handle) {
  *handle = static_cast<cufftHandle>(plans().size()) + 1;
  plans()[*handle];
  return CUFFT_SUCCESS;
}
cufftResult cufftSetAutoAllocation(cufftHandle, int) { return CUFFT_SUCCESS; }

cufftResult cufftMakePlanMany64(cufftHandle handle, int rank, long long* n, long long* inembed,
                                long long istride, long long idist, long long* onembed, long long ostride,
                                long long odist, cufftType type, long long batch, size_t* work_size) {
  if (rank != 2 || n[0] < 1 || n[1] < 1 || batch < 1) return CUFFT_INVALID_SIZE;
  Plan& plan = plans().at(handle);
  plan.h = n[0], plan.w = n[1], plan.batch = batch, plan.type = type;
  plan.x = {inembed[1], istride, idist};
  plan.y = {onembed[1], ostride, odist};
  *work_size = 64;
  return CUFFT_SUCCESS;
}
cufftResult cufftSetStream(cufftHandle handle, cudaStream_t stream) {
  plans().at(handle).stream = stream;
  return CUFFT_SUCCESS;
}
cufftResult cufftSetWorkArea(cufftHandle handle, void* work) {
  plans().at(handle).work = work;
  return CUFFT_SUCCESS;
}

cufftResult cufftExecC2C(cufftHandle plan, cufftComplex* x, cufftComplex* y, int direction) {
  return execute<float, false, false>(plan, x, y, direction);
}
cufftResult cufftExecZ2Z(cufftHandle plan, cufftDoubleComplex* x, cufftDoubleComplex* y, int direction) {
  return execute<double, false, false>(plan, x, y, direction);
}
cufftResult cufftExecR2C(cufftHandle plan, cufftReal* x, cufftComplex* y) {
  return execute<float, true, false>(plan, x, y, CUFFT_FORWARD);
}
cufftResult cufftExecD2Z(cufftHandle plan, cufftDoubleReal* x, cufftDoubleComplex* y) {
  return execute<double, true, false>(plan, x, y, CUFFT_FORWARD);
}
cufftResult cufftExecC2R(cufftHandle plan, cufftComplex* x, cufftReal* y) {
  return execute<float, false, true>(plan, x, y, CUFFT_INVERSE);
}
cufftResult cufftExecZ2D(cufftHandle plan, cufftDoubleComplex* x, cufftDoubleReal* y) {
  return execute<double, false, true>(plan, x, y, CUFFT_INVERSE);
}

}  // extern "C"
