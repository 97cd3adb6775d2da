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

// What one launch transforms: an image's channels, or one channel of all images. (With one channel the same.)
enum class Batch { channels, images };

Batch batch_of(const Fourier& t) {
  return t.c == 1 || (t.kind == FourierKind::complex && t.c < t.n) ? Batch::images : Batch::channels;
}

const Plan& plan_for(const Fourier& t, Batch of) {
  static std::map<std::array<int64_t, 6>, Plan> plans;
  const cufftType type = type_of(t);
  const int64_t batch = of == Batch::images ? t.n : t.c;
  const auto [at, is_new] = plans.try_emplace({type, t.h, t.w, t.c, batch, static_cast<int64_t>(of)});
  if (!is_new) return at->second;
  try {
    require_fft(api().create(&at->second.handle), "cufftCreate");
    require_fft(api().set_auto_allocation(at->second.handle, 0), "cufftSetAutoAllocation");
    const long long half = t.w / 2 + 1, h = t.h, w = t.w, c = t.c;
    long long extents[] = {h, w}, whole_rows[] = {h, w}, half_rows[] = {h, half};
    long long* x = t.kind == FourierKind::from_half ? half_rows : whole_rows;
    long long* y = t.kind == FourierKind::to_half ? half_rows : whole_rows;
    const auto distance = [&](const long long* rows) {
      return of == Batch::images ? rows[0] * rows[1] * c : 1;
    };
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

// Numbers of `parts` reals: (n, pixels, c) to (n, c, pixels), or back. One thread a number of the result.
template <class T, int parts, bool to_planes>
__global__ void plane_kernel(const T* x, int64_t count, int64_t pixels, int64_t c, T* y) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t inner = to_planes ? pixels : c, outer = to_planes ? c : pixels;
    const int64_t image = i / (pixels * c), from = (image * inner + i % inner) * outer + i / inner % outer;
    for (int part = 0; part < parts; ++part) y[i * parts + part] = x[from * parts + part];
  }
}

template <int parts, bool to_planes>
void move_planes(const Fourier& t, int64_t columns, const void* x, void* y) {
  const auto queue = [&]<class T>(T) {
    const int64_t count = t.n * t.h * columns * t.c;
    launch(plane_kernel<T, parts, to_planes>, blocks_for(count), threads, static_cast<const T*>(x), count,
           t.h * columns, t.c, static_cast<T*>(y));
    require(launched("fourier"));
  };
  t.dtype == DType::f64 ? queue(double{}) : queue(float{});
}

// Real images of few channels, when there are more of them than the launches this takes (3) and they are
// small: moving them costs 4 times their bytes at 4.8 TB/s, a launch 2.5 us, as much as 12 MB. A plan for
// one channel of all images is none for real numbers: every other one would lie where cuFFT takes no array.
bool in_planes(const Fourier& t) {
  const int64_t bytes = t.n * t.h * t.w * t.c * static_cast<int64_t>(dtype_size(t.dtype));
  return t.kind != FourierKind::complex && t.c > 1 && t.c <= 8 && 4 * bytes < (t.n - 3) * 12'000'000;
}

void fourier_in_planes(const char* op, const Fourier& t, void* x, void* y) {
  const int64_t half = t.w / 2 + 1, whole_count = t.n * t.h * t.w * t.c,
                half_count = 2 * t.n * t.h * half * t.c;
  const Scratch whole(op, static_cast<size_t>(whole_count) * dtype_size(t.dtype));
  const Scratch spectrum(op, static_cast<size_t>(half_count) * dtype_size(t.dtype));
  Fourier planes = t;
  planes.n = t.n * t.c, planes.c = 1;
  if (t.kind == FourierKind::to_half) {
    move_planes<1, true>(t, t.w, x, whole.get());
    fourier(op, planes, whole.get(), spectrum.get());
    move_planes<2, false>(t, half, spectrum.get(), y);
  } else {
    move_planes<2, true>(t, half, x, spectrum.get());
    fourier(op, planes, spectrum.get(), whole.get());
    move_planes<1, false>(t, t.w, whole.get(), y);
  }
}

}  // namespace

void fourier(const char* op, const Fourier& t, void* x, void* y) {
  if (in_planes(t)) return fourier_in_planes(op, t, x, y);
  const Batch batch = batch_of(t);
  const Plan& plan = plan_for(t, batch);
  const Scratch work(op, plan.work_bytes);
  require_fft(api().set_work_area(plan.handle, work.get()), "cufftSetWorkArea");
  const auto bytes = static_cast<int64_t>(dtype_size(t.dtype));
  if (batch == Batch::images) {
    for (int64_t channel = 0; channel < t.c; ++channel)
      execute(t, plan, static_cast<char*>(x) + 2 * channel * bytes,
              static_cast<char*>(y) + 2 * channel * bytes);
    return;
  }
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
