// Checkpoints of a training run: RUN/checkpoints/step-00001000/ with
//
//   weights.safetensors, ema.safetensors, optimiser.safetensors   all f32
//   state.json                                                    step and what decided the run so far
//
// The folder is written under another name, synced, and renamed, so one that is there is whole: a run killed
// at any moment continues from the last one. Data order and noise are functions of (seed, step), so nothing
// else has to be kept for a run to continue bit for bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace tw {

using NamedTensors = std::map<std::string, Tensor>;

struct Checkpoint {
  int64_t step = 0;  // steps done
  nlohmann::ordered_json state;
  NamedTensors weights, ema, optimiser;
};

// Writes RUN/checkpoints/step-XXXXXXXX and removes all but the newest `keep`. Returns its path.
std::filesystem::path save_checkpoint(const std::filesystem::path& run, const Checkpoint& checkpoint,
                                      int64_t keep);

// Throws Error{data} when a part is missing or malformed.
Checkpoint load_checkpoint(const std::filesystem::path& folder);

// Whole checkpoints under RUN/checkpoints, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);

// What --resume means: "latest" is the newest of `run`; else a checkpoint folder, or a run folder's newest.
// The run folder that a checkpoint folder lies in.
std::filesystem::path run_of(const std::filesystem::path& checkpoint);

std::filesystem::path find_checkpoint(const std::string& resume, const std::filesystem::path& run);

}  // namespace tw
