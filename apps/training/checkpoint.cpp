#include "apps/training/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/safetensors.h"

namespace tw {

namespace fs = std::filesystem;

namespace {
constexpr const char* prefix = "step-";

void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

nlohmann::ordered_json read_state(const fs::path& file) {
  std::ifstream in(file);
  if (!in) fail_data(file.string(), "cannot be read; is this a checkpoint?");
  nlohmann::ordered_json state = nlohmann::ordered_json::parse(in, nullptr, false);
  if (!state.is_object() || !state.contains("step") || !state["step"].is_number_integer())
    fail_data(file.string(), "malformed: expected an object with a \"step\"");
  return state;
}
}  // namespace

fs::path save_checkpoint(const fs::path& run, const Checkpoint& checkpoint, int64_t keep) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%08lld", prefix, static_cast<long long>(checkpoint.step));
  const fs::path all = run / "checkpoints", folder = all / name,
                 partial = all / (".partial-" + std::string(name));
  fs::create_directories(all);
  fs::remove_all(partial);
  fs::create_directory(partial);
  save_safetensors((partial / "weights.safetensors").string(), checkpoint.weights, {});
  save_safetensors((partial / "ema.safetensors").string(), checkpoint.ema, {});
  save_safetensors((partial / "optimiser.safetensors").string(), checkpoint.optimiser, {});
  nlohmann::ordered_json state = checkpoint.state;
  state["step"] = checkpoint.step;
  write_file_atomically((partial / "state.json").string(), state.dump(2) + "\n");
  sync_folder(partial);
  fs::remove_all(folder);  // an older try at the same step
  fs::rename(partial, folder);
  sync_folder(all);

  const std::vector<fs::path> present = list_checkpoints(run);
  for (size_t i = 0; i + static_cast<size_t>(keep) < present.size(); ++i) fs::remove_all(present[i]);
  return folder;
}

Checkpoint load_checkpoint(const fs::path& folder) {
  Checkpoint checkpoint;
  checkpoint.state = read_state(folder / "state.json");
  checkpoint.step = checkpoint.state["step"].get<int64_t>();
  if (checkpoint.step < 0) fail_data((folder / "state.json").string(), "negative step");
  checkpoint.weights = load_safetensors((folder / "weights.safetensors").string()).tensors;
  checkpoint.ema = load_safetensors((folder / "ema.safetensors").string()).tensors;
  checkpoint.optimiser = load_safetensors((folder / "optimiser.safetensors").string()).tensors;
  return checkpoint;
}

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error))
    if (entry.path().filename().string().starts_with(prefix) && fs::exists(entry.path() / "state.json"))
      found.push_back(entry.path());
  std::sort(found.begin(), found.end());  // the step has leading zeros
  return found;
}

fs::path run_of(const fs::path& checkpoint) {
  return fs::absolute(checkpoint).lexically_normal().parent_path().parent_path();
}

fs::path find_checkpoint(const std::string& resume, const fs::path& run) {
  if (resume != "latest" && fs::exists(fs::path(resume) / "state.json")) return resume;
  const fs::path where = resume == "latest" ? run : fs::path(resume);
  const std::vector<fs::path> found = list_checkpoints(where);
  if (found.empty()) fail_data(where.string(), "no checkpoint to resume from");
  return found.back();
}

}  // namespace tw
