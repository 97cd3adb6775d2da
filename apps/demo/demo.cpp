#include "apps/demo/demo.h"

#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "apps/cli/version.h"
#include "apps/image/png.h"
#include "apps/report/html.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"
#include "nn/unet/cost.h"
#include "tensor/error.h"

namespace tw {
namespace {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

void DemoSettings::declare(Options& options) {
  options.group("Demo");
  options.add("--model", model, "model folder", "DIR");
  options.add("--out", out, "folder for report.html and the pictures", "DIR");
  options.add("--per-class", per_class, "pictures of each class");
  options.add("--steps", steps, "DDPM steps of a picture");
  options.add("--guidance", guidance, "classifier-free guidance weight");
  options.add("--restore-steps", restore_steps, "DDPM steps of the restoration");
  options.add("--train-steps", train_steps, "steps of continued training");
  options.add("--seed", seed, "decides all random draws");
  options.add("--threads", threads, "threads; 0: as many as processors");
  options.add("--quiet", quiet, "no progress");
}

void DemoSettings::validate() const {
  check(per_class >= 3, "--per-class", "must be at least 3, found ", per_class);
  check(steps >= 1 && restore_steps >= 1 && train_steps >= 1, "--steps",
        "every number of steps must be positive");
  check(threads >= 0, "--threads", "must not be negative, found ", threads);
}

void run_demo(const DemoSettings& settings) {
  if (settings.threads > 0) kernels::set_thread_count(static_cast<int>(settings.threads));
  std::filesystem::create_directories(settings.out);
  const auto path = [&](const char* name) { return (std::filesystem::path(settings.out) / name).string(); };
  const auto say = [&](const std::string& line) {
    if (!settings.quiet) std::cerr << line << "\n";
  };

  DiffusionModel model = load_diffusion_model(settings.model);
  say("1/3 drawing pictures of every class");
  const SampledPictures samples = sample_pictures(model, settings);
  write_png(path("samples.png"), samples.sheet);
  write_png(path("trajectory.png"), samples.strip);
  say("2/3 restoring real pictures");
  const Restoration restored = restore_pictures(model, settings);
  write_png(path("restored.png"), restored.sheet);
  say("3/3 continuing the training");
  const Continuation training = continue_training(settings);
  write_png(path("loss.png"), training.curve);

  HtmlReport report("Tweedie demo", "A small diffusion model, trained by this program on a CPU, at work");
  report.tiles(
      {{"parameters", fixed(static_cast<double>(model.network->parameter_count()) / 1e6, 2) + " M"},
       {"a picture", fixed(1000 * samples.seconds / static_cast<double>(samples.pictures), 0) + " ms"},
       {"a restoration", fixed(restored.seconds / static_cast<double>(restored.rows.size()), 1) + " s"},
       {"training", fixed(training.images_per_second, 0) + " images/s"}});
  report.section("Drawn from noise", "One row a class, top to bottom: " + joined(samples.classes) + ".");
  report.figures({HtmlReport::figure(
      samples.sheet, std::to_string(settings.steps) + " DDPM steps, guidance " + fixed(settings.guidance, 1),
      true, 560)});
  report.section("How a picture appears",
                 "What the network takes the clean picture to be, from the first step (left) to the last.");
  report.figures(
      {HtmlReport::figure(samples.strip, "the first picture of the first classes"),
       HtmlReport::figure_of_file(path("trajectory.gif"), "the first class on its way", true, 320)});
  report.section(
      "A degraded picture restored",
      "Left: a real emoji. Middle: with a hole and noise of 0.05 in [-1, 1]. Right: drawn by diffusion "
      "posterior sampling "
      "(Chung et al. 2023) with the model as prior. The model has seen these pictures in training.");
  report.figures({HtmlReport::figure(
      restored.sheet, std::to_string(settings.restore_steps) + " DDPM steps, scale 1", true, 420)});
  HtmlReport::Rows metrics;
  for (const auto& row : restored.rows)
    metrics.push_back({row.name, "PSNR " + fixed(row.psnr_before, 2) + " → " + fixed(row.psnr_after, 2) +
                                     " dB, SSIM " + fixed(row.ssim_before, 3) + " → " +
                                     fixed(row.ssim_after, 3)});
  report.table(metrics, restored.definitions);
  report.section("Trained a little further",
                 "The same data, " + std::to_string(settings.train_steps) +
                     " steps of 16 pictures: mean loss " + fixed(training.first_loss, 4) +
                     " in the first quarter, " + fixed(training.last_loss, 4) +
                     " in the last. A model that has been trained already changes little.");
  report.figures({HtmlReport::figure(training.curve, "loss", false)});
  report.section("Settings and timings");
  report.table({{"model", settings.model + " (" + model.hash.get() + ")"},
                {"pictures", std::to_string(samples.pictures) + " in " + fixed(samples.seconds, 1) + " s"},
                {"restoration", fixed(restored.seconds, 1) + " s"},
                {"training", fixed(training.seconds, 1) + " s"},
                {"threads", std::to_string(kernels::thread_count())},
                {"instruction set", kernels::isa_name(kernels::active_isa())},
                {"seed", std::to_string(settings.seed)},
                {"version", version_text()}});
  report.write(path("report.html"));
  say("wrote " + path("report.html"));
}

}  // namespace tw
