#include "apps/sampling/sample_job.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "apps/cli/interrupt.h"
#include "apps/cli/precision.h"
#include "apps/cli/progress.h"
#include "apps/cli/run_folder.h"
#include "apps/cli/run_main.h"
#include "apps/cli/seeds.h"
#include "apps/image/gif.h"
#include "apps/image/grid.h"
#include "apps/image/png.h"
#include "apps/sampling/diffusion_model.h"
#include "apps/sampling/draw.h"
#include "apps/sampling/provenance.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/thread_pool.h"
#include "tensor/io/safetensors.h"

namespace tw {

namespace fs = std::filesystem;

namespace {

struct Interrupted {};

fs::path image_path(const fs::path& folder, uint64_t seed) {
  char name[32];
  std::snprintf(name, sizeof name, "%06llu.png", static_cast<unsigned long long>(seed));
  return folder / name;
}

void check_finite(const Tensor& samples, const std::vector<uint64_t>& seeds) {
  const int64_t size = samples.numel() / samples.dim(0);
  for (int64_t i = 0; i < samples.dim(0); ++i)
    for (int64_t k = 0; k < size; ++k)
      if (!std::isfinite(samples.data<float>()[i * size + k]))
        throw Error(
            ErrorKind::numeric,
            "image " + std::to_string(i) +
                (seeds.empty() ? "" : " (seed " + std::to_string(seeds[static_cast<size_t>(i)]) + ")") +
                " is not finite");
}

// Collects the frames of --trajectory from the steps of one batch.
class Trajectory {
 public:
  Trajectory(const SampleJob& job, int64_t bit_depth) : job_(job), bit_depth_(bit_depth) {}

  void see(const StepView& view) {
    if (view.step % job_.every && view.step + 1 < view.steps) return;
    add(job_.what == "x0" ? view.x0 : view.x);
  }
  void end(const Tensor& samples) { add(samples); }
  void write() const { write_gif(job_.trajectory, frames_); }

 private:
  void add(const Tensor& samples) {
    frames_.push_back(image_grid(images_of(samples, 8), {.columns = job_.columns, .zoom = zoom(samples)}));
  }
  static int64_t zoom(const Tensor& samples) { return std::max<int64_t>(1, 96 / samples.dim(1)); }

  const SampleJob& job_;
  int64_t bit_depth_;
  std::vector<Image> frames_;
};

class Sampler {
 public:
  Sampler(const SampleJob& job, Device device)
      : job_(job),
        model_(load_diffusion_model(job.model, precision_dtype(job.precision, device), device)),
        schedule_(model_.card.schedule),
        table_(make_table(schedule_, model_.card.prediction, model_.card.sampling, job.sampler)) {
    if (job.sampler.label >= 0 && model_.network->config().classes == 0)
      fail("--class", "the model has no classes");
    model_.network->keep_only_packed(WeightUse::sampling);
    settings_.height = settings_.width = model_.network->config().resolution;
    settings_.channels = model_.card.channels;
    settings_.label = job.sampler.label;
    settings_.guidance = job.sampler.guidance;
  }

  Provenance provenance(uint64_t seed) const {
    return {.model = job_.model,
            .model_hash = model_.hash.get(),
            .precision = job_.precision,
            .sampler = job_.sampler,
            .seed = seed,
            .isa = arithmetic_of(model_.network->device())};
  }

  std::vector<uint64_t> wanted() const {
    if (!job_.seeds.empty()) return parse_seeds(job_.seeds);
    std::vector<uint64_t> seeds;
    for (int64_t i = 0; i < job_.num; ++i) seeds.push_back(static_cast<uint64_t>(i));
    return seeds;
  }

  int run();
  Tensor draw_batch(const std::vector<uint64_t>& seeds, Progress& progress, int64_t& done,
                    Trajectory* trajectory);
  const DiffusionModel& model() const { return model_; }
  int64_t steps() const { return static_cast<int64_t>(table_.rows.size()); }

 private:
  int run_injected();
  void finish(const std::vector<Image>& images, const Tensor& samples) const;
  bool exists(uint64_t seed) const;

  const SampleJob& job_;
  DiffusionModel model_;
  Schedule schedule_;
  SamplerTable table_;
  DrawSettings settings_;
};

Tensor Sampler::draw_batch(const std::vector<uint64_t>& seeds, Progress& progress, int64_t& done,
                           Trajectory* trajectory) {
  const auto observe = [&](const StepView& view) {
    if (interrupted()) throw Interrupted{};
    if (trajectory) trajectory->see(view);
    progress.update(++done);
  };
  const Tensor samples = draw(*model_.network, table_, seeds, settings_, observe);
  check_finite(samples, seeds);
  if (trajectory) trajectory->end(samples);
  return samples;
}

bool Sampler::exists(uint64_t seed) const {
  const fs::path path = image_path(job_.out, seed);
  return fs::exists(path) && read_provenance(path.string()) == provenance(seed);
}

int Sampler::run() {
  if (!job_.inject.empty()) return run_injected();
  std::vector<uint64_t> seeds = wanted();
  if (job_.skip_existing) std::erase_if(seeds, [&](uint64_t seed) { return exists(seed); });
  const auto count = static_cast<int64_t>(seeds.size());
  const int64_t batches = (count + job_.batch - 1) / job_.batch;
  Progress progress(batches * steps(), "step", Progress::automatic(job_.quiet));
  Trajectory trajectory(job_, model_.card.bit_depth);
  std::vector<Image> images;
  std::vector<Tensor> samples;
  int64_t done = 0;
  for (int64_t first = 0; first < count; first += job_.batch) {
    const auto begin = seeds.begin() + first;
    const std::vector<uint64_t> some(begin, begin + std::min(job_.batch, count - first));
    const bool film = !job_.trajectory.empty() && first == 0;
    const Tensor batch = draw_batch(some, progress, done, film ? &trajectory : nullptr);
    std::vector<Image> pictures = images_of(batch, model_.card.bit_depth);
    for (size_t i = 0; i < pictures.size(); ++i) {
      provenance(some[i]).write(pictures[i]);
      if (!job_.out.empty()) write_png(image_path(job_.out, some[i]).string(), pictures[i]);
      if (!job_.grid.empty()) images.push_back(std::move(pictures[i]));
    }
    if (!job_.save_tensor.empty()) samples.push_back(batch);
  }
  progress.finish();
  if (!job_.grid.empty() && count > 0) {
    Image sheet = image_grid(images, {.columns = job_.columns});
    provenance(0).write_sheet(sheet, seeds);
    write_png(job_.grid, sheet);
  }
  if (!job_.save_tensor.empty() && count > 0) {
    Tensor all = Tensor::empty({count, settings_.height, settings_.width, settings_.channels});
    int64_t at = 0;
    for (const Tensor& batch : samples) {
      all.slice(0, at, at + batch.dim(0)).copy_from(batch);
      at += batch.dim(0);
    }
    save_safetensors(job_.save_tensor, {{"samples", channels_first(all)}});
  }
  if (!job_.trajectory.empty() && count > 0) trajectory.write();
  return exit_ok;
}

int Sampler::run_injected() {
  const SafeTensors file = load_safetensors(job_.inject);
  const Tensor x_T = file.at("x_T");
  const auto noise = file.tensors.find("noise");
  InjectedNoise source(x_T, noise == file.tensors.end() ? Tensor() : noise->second);
  if (x_T.dim(1) != settings_.channels)
    fail_data(job_.inject, "x_T has ", x_T.dim(1), " channels, the model ", settings_.channels);
  Trajectory trajectory(job_, model_.card.bit_depth);
  Progress progress(steps(), "step", Progress::automatic(job_.quiet));
  int64_t done = 0;
  const Tensor samples = draw(*model_.network, table_, source, settings_, [&](const StepView& view) {
    if (interrupted()) throw Interrupted{};
    if (!job_.trajectory.empty()) trajectory.see(view);
    progress.update(++done);
  });
  check_finite(samples, {});
  const std::vector<Image> images = images_of(samples, model_.card.bit_depth);
  if (!job_.save_tensor.empty()) save_safetensors(job_.save_tensor, {{"samples", channels_first(samples)}});
  for (size_t i = 0; i < images.size() && !job_.out.empty(); ++i)
    write_png(image_path(job_.out, i).string(), images[i]);
  if (!job_.grid.empty()) write_png(job_.grid, image_grid(images, {.columns = job_.columns}));
  if (!job_.trajectory.empty()) {
    trajectory.end(samples);
    trajectory.write();
  }
  return exit_ok;
}

int reproduce(const SampleJob& asked, Device device) {
  const Image before = read_png(asked.reproduce);
  const Provenance origin = read_provenance(asked.reproduce);
  SampleJob job = asked;
  job.sampler = origin.sampler;
  job.precision = origin.precision;
  kernels::set_exact(origin.exact);
  if (job.model.empty()) job.model = origin.model;
  Sampler sampler(job, device);
  if (sampler.model().hash.get() != origin.model_hash)
    fail_data(job.model, "is another model: its weights have the hash ", sampler.model().hash.get(),
              ", the image was drawn by ", origin.model_hash);
  const std::string isa = arithmetic_of(sampler.model().network->device());
  if (origin.isa != isa && !job.quiet)
    std::cerr << "note: drawn with " << origin.isa << " arithmetic, now " << isa
              << ": the last bits may differ" << std::endl;
  Progress progress(sampler.steps(), "step", Progress::automatic(job.quiet));
  int64_t done = 0;
  Image again = images_of(sampler.draw_batch({origin.seed}, progress, done, nullptr),
                          sampler.model().card.bit_depth)[0];
  progress.finish();
  if (!job.out.empty()) {
    sampler.provenance(origin.seed).write(again);
    write_png(image_path(job.out, origin.seed).string(), again);
  }
  int most = 0;
  const bool same_size = again.pixels.size() == before.pixels.size();
  for (size_t i = 0; same_size && i < again.pixels.size(); ++i)
    most = std::max(most, std::abs(int{again.pixels[i]} - int{before.pixels[i]}));
  if (same_size && most == 0) {
    std::cout << "identical: seed " << origin.seed << " of " << job.model << "\n";
    return exit_ok;
  }
  std::cout << "differs: largest difference of a pixel "
            << (same_size ? std::to_string(most) : "unknown (sizes differ)") << "\n";
  return exit_numeric;
}

}  // namespace

int run(const SampleJob& job) {
  catch_interrupts();
  if (job.exact) kernels::set_exact(true);
  if (job.threads > 0) kernels::set_thread_count(static_cast<int>(job.threads));
  const Device device = job.device.choose(job.quiet);  // before a folder is made
  precision_dtype(job.precision, device);
  if (!job.out.empty()) {
    std::error_code error;
    fs::create_directories(job.out, error);
    if (error) fail_data(job.out, "the folder cannot be made: ", error.message());
    check_writable(job.out);
  }
  try {
    return job.reproduce.empty() ? Sampler(job, device).run() : reproduce(job, device);
  } catch (const Interrupted&) {
    std::cerr << "interrupted; --skip-existing continues where this stopped" << std::endl;
    return exit_interrupted;
  }
}

}  // namespace tw
