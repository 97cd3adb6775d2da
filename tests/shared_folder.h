// Real data, reference models and their expected outputs lie in a folder beside the source tree, or where
// TW_SHARED says: data/, fixtures/, weights/. Tests that need them skip, saying so, where they are missing.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace tw {

inline std::filesystem::path shared_folder(const char* below) {
  const char* set = std::getenv("TW_SHARED");
  return (set ? std::filesystem::path(set) : std::filesystem::path(TW_SOURCE_DIR "/../shared")) / below;
}

}  // namespace tw
