// --device of the binaries: cpu, cuda, cuda:N, or auto; --tf32.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "apps/cli/options.h"
#include "tensor/device.h"

namespace tw {

class DeviceOption {
 public:
  void declare(Options& options);

  // The device to work on, whose number is then the program's. auto: CUDA where it can be used, else the CPU,
  // and a line on stderr that says which and why unless quiet. Throws Error{usage} for another text, and
  // Error{data} that says why the device asked for cannot be used. --tf32 is an error on the CPU.
  Device choose(bool quiet = false) const;
  const std::string& text() const { return text_; }

 private:
  Device named(bool quiet) const;

  std::string text_ = "cpu";
  bool tf32_ = false;
};

}  // namespace tw
