// Where a picture comes from, kept in its PNG text: everything needed to draw it again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/image/image.h"
#include "apps/sampling/sampler_settings.h"
#include "kernels/cpu/exact.h"

namespace tw {

// The instruction set in use, cuda, or cuda tf32: another one may differ in the last bits.
std::string arithmetic_of(Device device);

struct Provenance {
  std::string model;       // the folder, as given
  std::string model_hash;  // of its weights
  std::string precision = "f32";
  SamplerSettings sampler;
  uint64_t seed = 0;
  std::string isa = arithmetic_of(Device::cpu);
  bool exact = kernels::exact();

  // Text chunks "tweedie" (JSON, read back below), "seed" and "Software".
  void write(Image& image) const;
  // The same for a sheet of many seeds; it cannot be reproduced as one image.
  void write_sheet(Image& image, const std::vector<uint64_t>& seeds) const;

  bool operator==(
      const Provenance& other) const;  // would give the same image; the model's path does not matter
};

// Throws Error{data} when the file is no PNG of tw-sample.
Provenance read_provenance(const std::string& png);

}  // namespace tw
