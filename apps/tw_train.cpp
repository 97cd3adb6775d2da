// tw-train: trains a diffusion model on images. docs/cli.md
#include <filesystem>

#include "apps/cli/options.h"
#include "apps/cli/profiling.h"
#include "apps/cli/run_main.h"
#include "apps/training/checkpoint.h"
#include "apps/training/settings.h"
#include "apps/training/trainer.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/thread_pool.h"

namespace {

int train(int argc, char** argv) {
  tw::Options options("tw-train", "Trains a diffusion model on images.");
  tw::TrainingSettings settings;
  settings.declare(options);
  tw::Profiling profiling;
  profiling.declare(options);
  options.footer(
      "Example: tw-train --data emoji --steps 20000 --out runs/emoji\n"
      "Continue: tw-train --resume latest --out runs/emoji   (takes the run's settings; options override "
      "them)");
  if (!options.parse(argc, argv)) return tw::exit_ok;

  if (options.given("--resume")) {
    // A run folder names its own settings, so that continuing needs none of them again.
    if (settings.resume == "latest") options.require("--out");
    const std::string resume = settings.resume;
    const auto run = resume == "latest" ? std::filesystem::path(settings.out)
                                        : tw::run_of(tw::find_checkpoint(resume, {}));
    const std::string out = options.given("--out") ? settings.out : run.string();
    if (std::filesystem::exists(run / "config.json")) options.read_config((run / "config.json").string());
    settings.out = out;
    settings.resume = resume;
  } else {
    options.require("--out");
  }
  settings.validate();
  if (settings.exact) tw::kernels::set_exact(true);
  if (settings.threads > 0) tw::kernels::set_thread_count(static_cast<int>(settings.threads));
  profiling.begin();
  const int code = tw::train(settings, options);
  profiling.finish();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  return tw::run_main("tw-train", [&] { return train(argc, argv); });
}
