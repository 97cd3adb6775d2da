// An image file of any kind that is read: PNG or JPEG, told by its first bytes and not by its name.
#pragma once

#include <string>

#include "apps/image/image.h"

namespace tw {

Image read_image(const std::string& path);          // throws Error{data} naming the path
bool has_image_extension(const std::string& path);  // .png, .jpg, .jpeg, in any case

}  // namespace tw
