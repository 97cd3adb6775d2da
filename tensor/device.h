// Where a tensor lives.
#pragma once

#include <cstdint>

namespace tw {

enum class Device : uint8_t { cpu, cuda };
inline const char* device_name(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

}  // namespace tw
