// A library of CUDA's vendor that is loaded when something first needs it, so that the backend itself does
// not.
#pragma once

#include <dlfcn.h>

#include "tensor/error.h"

namespace tw::cuda {

class VendorLibrary {
 public:
  // Throws Error{data} saying that `product` cannot be loaded, which `needed_for` on CUDA need.
  VendorLibrary(const char* file, const char* product, const char* needed_for)
      : file_(file), handle_(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_) return;
    const char* reason = dlerror();
    throw Error(ErrorKind::data,
                detail::join(product, " cannot be loaded, which ", needed_for, " on CUDA need: ", reason));
  }
  // Sets a pointer to the function `name`; throws Error{data} when there is none.
  template <class F>
  void find(const char* name, F& function) const {
    function = reinterpret_cast<F>(dlsym(handle_, name));
    if (!function) throw Error(ErrorKind::data, detail::join(file_, " has no function ", name));
  }

 private:
  const char* file_;
  void* handle_;  // stays open
};

}  // namespace tw::cuda
