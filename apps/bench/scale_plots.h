// Curves of time and memory against batch and resolution.
#pragma once

#include <filesystem>
#include <string>

namespace tw {

// `file` holds a JSON array of rows of tw-bench net. Writes scale-time-batch.png, scale-memory-batch.png
// (rows of the smallest resolution), scale-time-resolution.png and scale-memory-resolution.png (rows of batch
// 1) into `folder`: a curve for each mode and number of threads.
void plot_scale(const std::string& file, const std::filesystem::path& folder);

}  // namespace tw
