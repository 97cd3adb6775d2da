// The demo: what a shipped model can do, in under two minutes on two cores, as one page.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli/options.h"
#include "apps/image/image.h"
#include "apps/sampling/diffusion_model.h"

namespace tw {

struct DemoSettings {
  std::string model = "models/emoji-32";
  std::string out = "out/demo";
  int64_t per_class = 6;        // pictures of each class on the sheet
  int64_t steps = 100;          // DDPM steps of a picture
  double guidance = 2.5;        // classifier-free guidance
  int64_t restore_steps = 250;  // DDPM steps of the restoration
  int64_t train_steps = 40;
  uint64_t seed = 0;
  int64_t threads = 0;
  bool quiet = false;

  void declare(Options& options);
  void validate() const;  // throws Error{usage} naming the option
};

struct SampledPictures {
  Image sheet;                       // a row for each class
  Image strip;                       // one trajectory a row: predicted clean images from left to right
  std::vector<std::string> classes;  // of the rows
  double seconds = 0;
  int64_t pictures = 0;
};
// Also writes trajectory.gif.
SampledPictures sample_pictures(const DiffusionModel& model, const DemoSettings& settings);

struct Restoration {
  struct Row {
    std::string name;
    double psnr_before, psnr_after, ssim_before, ssim_after;
  };
  Image sheet;  // a row for each picture: truth, measurement, restoration
  std::vector<Row> rows;
  std::string definitions;  // of the metrics
  double seconds = 0;
};
// Real emoji with a hole and noise, restored by DPS with the model as prior.
Restoration restore_pictures(DiffusionModel& model, const DemoSettings& settings);

struct Continuation {
  Image curve;
  double first_loss = 0, last_loss = 0;  // means over the first and the last quarter
  double images_per_second = 0, seconds = 0;
};
// Continues the training of the model on the emoji for a few steps, in <out>/training.
Continuation continue_training(const DemoSettings& settings);

// Runs all three and writes report.html and the pictures into settings.out.
void run_demo(const DemoSettings& settings);

}  // namespace tw
