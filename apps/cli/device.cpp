#include "apps/cli/device.h"

#include <charconv>
#include <iostream>

#include "tensor/cuda_library.h"
#include "tensor/error.h"

namespace tw {

void DeviceOption::declare(Options& options) {
  options.add("--device", text_, "where to compute; auto: a CUDA device if there is one",
              "cpu|cuda[:N]|auto");
  options.add("--tf32", tf32_,
              "let a CUDA device round the inputs of f32 products to tf32: faster, errors of 1e-3");
}

Device DeviceOption::choose(bool quiet) const {
  const Device device = named(quiet);
  check(!tf32_ || device == Device::cuda, "--tf32", "needs a CUDA device, --device is ", text_,
        text_ == "auto" ? " and there is none" : "");
  if (tf32_) cuda_allow_tf32(true);
  return device;
}

Device DeviceOption::named(bool quiet) const {
  if (text_ == "cpu") return Device::cpu;
  if (text_ == "auto") {
    const std::string reason = cuda_unavailable_reason();
    if (!quiet) std::cerr << "device: " << (reason.empty() ? "cuda:0" : "cpu (" + reason + ")") << std::endl;
    return reason.empty() ? Device::cuda : Device::cpu;
  }
  int index = 0;
  if (text_ != "cuda") {
    const char *begin = text_.data() + 5, *end = text_.data() + text_.size();
    const bool number = text_.starts_with("cuda:") && begin != end &&
                        std::from_chars(begin, end, index) == std::from_chars_result{end, std::errc()};
    check(number && index >= 0, "--device", "expected cpu, cuda, cuda:N or auto, got '", text_, "'");
  }
  use_cuda_device(index);
  const std::string reason = cuda_unavailable_reason();
  if (!reason.empty()) throw Error(ErrorKind::data, detail::join("--device ", text_, ": ", reason));
  return Device::cuda;
}

}  // namespace tw
