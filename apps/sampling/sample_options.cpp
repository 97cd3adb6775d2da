// The options of tw-sample and which of them go together.
#include "apps/cli/precision.h"
#include "apps/sampling/sample_job.h"
#include "tensor/error.h"

namespace tw {

void SampleJob::declare(Options& options) {
  options.group("Model");
  options.add("--model", model, "model folder, or a diffusers folder", "DIR");
  add_precision(options, precision, "of weights and activations");
  device.declare(options);
  options.add("--exact", exact, "no Winograd convolution on the CPU: slower, errors a few times smaller");
  sampler.declare(options);
  options.group("What to draw");
  options.add("--seeds", seeds, "one image a seed, e.g. 0-15,100", "LIST");
  options.add("--num", num, "the seeds 0 to N - 1");
  options.add("--inject", inject, "start x_T and draws noise[k] from a file, (n, c, h, w)",
              "FILE.safetensors");
  options.add("--reproduce", reproduce, "draw this image again, with the settings in its text", "FILE.png");
  options.group("Output");
  options.add("--out", out, "folder for one PNG a seed", "DIR");
  options.add("--skip-existing", skip_existing,
              "leave out seeds whose image is there, with the same settings");
  options.add("--grid", grid, "all images on one sheet", "FILE.png");
  options.add("--columns", columns, "of the sheet; 0: the most square one");
  options.add("--save-tensor", save_tensor, "write `samples` (n, c, h, w)", "FILE.safetensors");
  options.add("--trajectory", trajectory, "animation of the first batch", "FILE.gif");
  options.add("--every", every, "steps between frames of the trajectory");
  options.add_choice("--what", what, {"x0", "xt"}, "trajectory of the predicted image or of the noisy one");
  options.group("Resources");
  options.add("--batch", batch, "images at once; changes no image");
  options.add("--threads", threads, "threads; 0: as many as processors; changes no image");
  options.add("--quiet", quiet, "no progress");
}

void SampleJob::validate(const Options& options) const {
  if (reproduce.empty()) options.require("--model");
  check(batch >= 1, "--batch", "must be at least 1, got ", batch);
  check(every >= 1, "--every", "must be at least 1, got ", every);
  check(threads >= 0 && threads <= 1024, "--threads", "must lie between 0 and 1024, got ", threads);
  check(columns >= 0, "--columns", "must not be negative, got ", columns);
  const int sources = (!seeds.empty()) + (num != 0) + (!inject.empty()) + (!reproduce.empty());
  if (sources == 0) throw Error("one of --seeds, --num, --inject or --reproduce says what to draw");
  if (sources > 1) throw Error("--seeds, --num, --inject and --reproduce exclude each other");
  check(num >= 0 && num <= 10'000'000, "--num", "must lie between 1 and 10000000, got ", num);
  if (reproduce.empty() && out.empty() && grid.empty() && save_tensor.empty() && trajectory.empty())
    throw Error("nothing to write: give --out, --grid, --trajectory or --save-tensor");
  if (!reproduce.empty())
    for (const char* name :
         {"--sampler", "--steps", "--eta", "--spacing", "--variance", "--no-clip", "--class", "--guidance",
          "--precision", "--exact", "--grid", "--trajectory", "--save-tensor"})
      if (options.given(name)) throw Error(std::string(name) + ": --reproduce takes it from the image");
}

}  // namespace tw
