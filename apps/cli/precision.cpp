#include "apps/cli/precision.h"

#include "tensor/error.h"

namespace tw {

void add_precision(Options& options, std::string& name, const std::string& help) {
  options.add_choice("--precision", name, {"f32", "bf16", "f16"}, help + "; f16 on CUDA devices only");
}

DType precision_dtype(const std::string& name, Device device) {
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  check(name == "f16", "--precision", "expected f32, bf16 or f16, got '", name, "'");
  check(device == Device::cuda, "--precision",
        "f16 needs a CUDA device (--device cuda); the CPU computes in f32 or bf16");
  return DType::f16;
}

}  // namespace tw
