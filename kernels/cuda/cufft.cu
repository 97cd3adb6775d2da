#include <cufft.h>

#include <algorithm>
#include <array>
#include <map>

#include "kernels/cuda/cufft.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/vendor_library.h"

namespace tw::cuda {
namespace {

// The functions of cuFFT that are used, under their names without the prefix.
struct Api {
  decltype(&cufftCreate) create;
  decltype(&cufftSetAutoAllocation) set_auto_allocation;
  decltype(&cufftMakePlanMany64) make_plan_many;
  decltype(&cufftSetStream) set_stream;
  decltype(&cufftSetWorkArea) set_work_area;
  decltype(&cufftExecC2C) c2c;
  decltype(&cufftExecR2C) r2c;
  decltype(&cufftExecC2R) c2r;
  decltype(&cufftExecZ2Z) z2z;
  decltype(&cufftExecD2Z) d2z;
  decltype(&cufftExecZ2D) z2d;
};

Api load() {
  const VendorLibrary library("libcufft.so.12", "cuFFT 12", "Fourier transforms");
  Api api;
  library.find("cufftCreate", api.create);
  library.find("cufftSetAutoAllocation", api.set_auto_allocation);
  library.find("cufftMakePlanMany64", api.make_plan_many);
  library.find("cufftSetStream", api.set_stream);
  library.find("cufftSetWorkArea", api.set_work_area);
  library.find("cufftExecC2C", api.c2c);
  library.find("cufftExecR2C", api.r2c);
  library.find("cufftExecC2R", api.c2r);
  library.find("cufftExecZ2Z", api.z2z);
  library.find("cufftExecD2Z", api.d2z);
  library.find("cufftExecZ2D", api.z2d);
  return api;
}

const Api& api() {
  static const Api loaded = load();
  return loaded;
}

void require_fft(cufftResult status, const char* call) {
  if (status != CUFFT_SUCCESS)
    throw Error(ErrorKind::data, detail::join("cuFFT: ", call, " gave status ", static_cast<int>(status)));
}

cufftType type_of(const Fourier& t) {
  const bool wide = t.dtype == DType::f64;
  switch (t.kind) {
    case FourierKind::to_half:
      return wide ? CUFFT_D2Z : CUFFT_R2C;
    case FourierKind::from_half:
      return wide ? CUFFT_Z2D : CUFFT_C2R;
    default:
      return wide ? CUFFT_Z2Z : CUFFT_C2C;
  }
}

struct Plan {
  cufftHandle handle = 0;
  size_t work_bytes = 0;
};

// For a batch of `batch` transforms: the channels of an image, or images of one channel.
const Plan& plan_for(const Fourier& t, int64_t batch) {
  static std::map<std::array<int64_t, 5>, Plan> plans;
  const cufftType type = type_of(t);
  const auto [at, is_new] = plans.try_emplace({type, t.h, t.w, t.c, batch});
  if (!is_new) return at->second;
  try {
    require_fft(api().create(&at->second.handle), "cufftCreate");
    require_fft(api().set_auto_allocation(at->second.handle, 0), "cufftSetAutoAllocation");
    const long long half = t.w / 2 + 1, h = t.h, w = t.w, c = t.c;
    long long extents[] = {h, w}, whole_rows[] = {h, w}, half_rows[] = {h, half};
    long long* x = t.kind == FourierKind::from_half ? half_rows : whole_rows;
    long long* y = t.kind == FourierKind::to_half ? half_rows : whole_rows;
    const auto distance = [&](const long long* rows) { return c == 1 ? rows[0] * rows[1] : 1; };
    require_fft(api().make_plan_many(at->second.handle, 2, extents, x, c, distance(x), y, c, distance(y),
                                     type, batch, &at->second.work_bytes),
                "cufftMakePlanMany64");
    require_fft(api().set_stream(at->second.handle, stream()), "cufftSetStream");
  } catch (...) {
    plans.erase(at);
    throw;
  }
  return at->second;
}

void execute(const Fourier& t, const Plan& plan, void* x, void* y) {
  const int direction = t.inverse ? CUFFT_INVERSE : CUFFT_FORWARD;
  switch (type_of(t)) {
    case CUFFT_C2C:
      return require_fft(
          api().c2c(plan.handle, static_cast<cufftComplex*>(x), static_cast<cufftComplex*>(y), direction),
          "cufftExecC2C");
    case CUFFT_Z2Z:
      return require_fft(api().z2z(plan.handle, static_cast<cufftDoubleComplex*>(x),
                                   static_cast<cufftDoubleComplex*>(y), direction),
                         "cufftExecZ2Z");
    case CUFFT_R2C:
      return require_fft(api().r2c(plan.handle, static_cast<float*>(x), static_cast<cufftComplex*>(y)),
                         "cufftExecR2C");
    case CUFFT_D2Z:
      return require_fft(api().d2z(plan.handle, static_cast<double*>(x), static_cast<cufftDoubleComplex*>(y)),
                         "cufftExecD2Z");
    case CUFFT_C2R:
      return require_fft(api().c2r(plan.handle, static_cast<cufftComplex*>(x), static_cast<float*>(y)),
                         "cufftExecC2R");
    case CUFFT_Z2D:
      return require_fft(api().z2d(plan.handle, static_cast<cufftDoubleComplex*>(x), static_cast<double*>(y)),
                         "cufftExecZ2D");
  }
}

}  // namespace

void fourier(const char* op, const Fourier& t, void* x, void* y) {
  const Plan& plan = plan_for(t, t.c == 1 ? t.n : t.c);
  const Scratch work(op, plan.work_bytes);
  require_fft(api().set_work_area(plan.handle, work.get()), "cufftSetWorkArea");
  if (t.c == 1) return execute(t, plan, x, y);
  const auto bytes = static_cast<int64_t>(dtype_size(t.dtype));
  const int64_t whole = t.h * t.w * t.c * bytes, half = 2 * t.h * (t.w / 2 + 1) * t.c * bytes;
  const int64_t x_image = t.kind == FourierKind::from_half ? half
                          : t.kind == FourierKind::to_half ? whole
                                                           : 2 * whole;
  const int64_t y_image = t.kind == FourierKind::to_half     ? half
                          : t.kind == FourierKind::from_half ? whole
                                                             : 2 * whole;
  // cuFFT wants real images where a complex number could lie; those that do not go by way of one that does.
  const bool odd_ones = t.kind != FourierKind::complex && t.n > 1 && whole % (2 * bytes) != 0;
  const Scratch aligned(op, odd_ones ? static_cast<size_t>(whole) : 0);
  for (int64_t i = 0; i < t.n; ++i) {
    void *from = static_cast<char*>(x) + i * x_image, *to = static_cast<char*>(y) + i * y_image;
    void* const image = odd_ones && i % 2 ? aligned.get() : t.kind == FourierKind::to_half ? from : to;
    const auto copy = [&](void* there, const void* here) {
      require(cudaMemcpyAsync(there, here, static_cast<size_t>(whole), cudaMemcpyDeviceToDevice, stream()),
              "cudaMemcpyAsync");
    };
    if (t.kind == FourierKind::complex) {
      execute(t, plan, from, to);
    } else if (t.kind == FourierKind::to_half) {
      if (image != from) copy(image, from);
      execute(t, plan, image, to);
    } else {
      execute(t, plan, from, image);
      if (image != to) copy(to, image);
    }
  }
}

}  // namespace tw::cuda
