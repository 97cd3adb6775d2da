#include "apps/image/read_image.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "apps/image/file_bytes.h"
#include "apps/image/jpeg.h"
#include "apps/image/png.h"
#include "tensor/error.h"

namespace tw {

Image read_image(const std::string& path) {
  const std::string bytes = file_bytes(path);
  if (bytes.starts_with("\x89PNG")) return decode_png(bytes, path);
  if (bytes.starts_with("\xff\xd8")) return decode_jpeg(bytes, path);
  if (bytes.empty()) fail_data(path, "is empty");
  fail_data(path, "is neither a PNG nor a JPEG file");
}

bool has_image_extension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

}  // namespace tw
