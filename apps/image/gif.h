// Animated GIF files, write only.
#pragma once

#include <string>
#include <vector>

#include "apps/image/image.h"

namespace tw {

struct GifOptions {
  double seconds_per_frame = 0.1;   // rounded to 1/100 s
  double last_frame_seconds = 1.5;  // the result stays for a while before the animation begins anew
  bool loop = true;
};

// Each frame has a palette of its own (apps/image/palette.h); 16-bit frames are shown in 8 bits. Throws
// unless there is a frame and all are of one size. Appears complete or not at all.
void write_gif(const std::string& path, const std::vector<Image>& frames, const GifOptions& options = {});

}  // namespace tw
