#include "apps/training/trainer.h"

#include <chrono>
#include <cstdio>
#include <iostream>

#include "apps/cli/interrupt.h"
#include "apps/cli/memory.h"
#include "apps/cli/precision.h"
#include "apps/cli/progress.h"
#include "apps/cli/run_folder.h"
#include "apps/cli/run_main.h"
#include "apps/sampling/diffusion_model.h"
#include "apps/training/batch.h"
#include "apps/training/checkpoint.h"
#include "apps/training/new_model.h"
#include "apps/training/preview.h"
#include "diffusion/training_loop.h"
#include "nn/learning_rate.h"
#include "nn/model_folder.h"

namespace tw {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr int64_t reports_together = 8;  // steps of a device between two looks at their reports

// Sums of the steps since the last line of the log.
struct LogWindow {
  double loss = 0, gradient_norm = 0;
  std::array<double, 4> quartile_sum{};
  std::array<int64_t, 4> quartile_count{};
  double loss_scale = 1;  // of the next step
  int64_t steps = 0, skipped = 0;
  Clock::time_point begin = Clock::now();

  void add(const StepReport& report) {
    loss_scale = report.loss_scale;
    if (!report.finite) {
      ++skipped;
      return;
    }
    ++steps;
    loss += report.loss;
    gradient_norm += report.gradient_norm;
    for (size_t q = 0; q < 4; ++q) {
      quartile_sum[q] += report.quartile_sum[q];
      quartile_count[q] += report.quartile_count[q];
    }
  }
};

std::string step_name(const char* what, int64_t step) {
  char name[48];
  std::snprintf(name, sizeof name, "%s-%08lld.png", what, static_cast<long long>(step));
  return name;
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

DType dtype_of_name(const std::string& name) {
  return name == "bf16" ? DType::bf16 : name == "f16" ? DType::f16 : DType::f32;
}

class Run {
 public:
  Run(const TrainingSettings& settings, const Options& options, Device device);
  int train();

 private:
  void resume();
  void look_at_reports(Progress& progress);
  void write_log(int64_t step, double lr);
  void write_grids(int64_t step);
  void write_checkpoint(int64_t step);
  void write_model();

  const TrainingSettings& settings_;
  RunFolder folder_;
  NewModel model_;  // data set, network, card
  Schedule schedule_;
  Optimiser optimiser_;
  Ema ema_;
  BatchReader reader_;
  TrainingLoop loop_;
  int64_t done_ = 0;  // steps
  int64_t last_checkpoint_ = -1;
  int64_t bad_in_a_row_ = 0;
  double latest_loss_ = 0;
  LogWindow window_;
};

Run::Run(const TrainingSettings& settings, const Options& options, Device device)
    : settings_(settings),
      folder_(settings.out, !settings.resume.empty()),
      model_(settings, device),
      schedule_(model_.card.schedule),
      optimiser_(*model_.network, optimiser_settings(settings)),
      ema_(*model_.network, EmaSettings{.decay = settings.ema}),
      reader_(*model_.data, settings),
      loop_(*model_.network, optimiser_, &ema_, schedule_,
            {.objective = objective_of(settings, model_.card.prediction),
             .batch = settings.batch,
             .accumulate = settings.accumulate,
             .seed = settings.seed}) {
  if (!settings.resume.empty()) resume();
  folder_.write_settings(options.resolved(), options.command_line());
}

void Run::resume() {
  const std::filesystem::path path = find_checkpoint(settings_.resume, settings_.out);
  const Checkpoint checkpoint = load_checkpoint(path);
  load_state(*model_.network, checkpoint.weights, path.string());
  try {
    kernels::LossScale scale;
    if (const Json saved = checkpoint.state.value("loss_scale", Json()); !saved.is_null())
      scale = {.scale = saved.at("scale"), .good_steps = saved.at("good_steps")};
    optimiser_.load_state(checkpoint.optimiser, checkpoint.state.at("optimiser_steps"), scale);
    ema_.load_state(checkpoint.ema, checkpoint.state.at("ema_updates"));
  } catch (const Json::exception& error) {
    fail_data((path / "state.json").string(), "malformed: ", error.what());
  }
  done_ = last_checkpoint_ = checkpoint.step;
  folder_.rewind_log(done_);
  const Json before = checkpoint.state.value("settings", Json::object()), now = settings_.identity();
  for (const auto& [key, value] : now.items())
    if (before.contains(key) && before[key] != value && !settings_.quiet)
      std::cerr << "note: --" << key << " was " << before[key] << " and is now " << value << "\n";
  if (!settings_.quiet) std::cerr << "continuing " << path.string() << " at step " << done_ << std::endl;
}

int Run::train() {
  catch_interrupts();
  const LearningRate rate = learning_rate_of(settings_);
  Progress progress(settings_.steps, "it", Progress::automatic(settings_.quiet), done_);
  model_.network->train();
  while (done_ < settings_.steps) {
    const double lr = rate.at(done_);
    loop_.step(done_, lr, [&](int64_t micro) { return reader_.read(done_, micro); });
    ++done_;
    const auto due = [&](int64_t every) {
      return every > 0 && (done_ % every == 0 || done_ == settings_.steps);
    };
    const bool log = due(settings_.log_every), sample = due(settings_.sample_every),
               checkpoint = due(settings_.checkpoint_every), stop = interrupted();
    // A device may be behind: its steps are looked at when something is written, or many have gathered.
    if (log || sample || checkpoint || stop || done_ % reports_together == 0 || done_ == settings_.steps ||
        !loop_.repeats())
      look_at_reports(progress);
    if (log) write_log(done_, lr);
    if (sample) write_grids(done_);
    if (checkpoint) write_checkpoint(done_);
    progress.update(done_, "loss " + short_number(latest_loss_));
    if (stop) {
      write_checkpoint(done_);
      progress.finish();
      std::cerr << "interrupted; continue with --resume latest --out " << settings_.out << std::endl;
      return exit_interrupted;
    }
  }
  write_checkpoint(done_);
  write_model();
  progress.finish();
  if (!settings_.quiet) std::cerr << "model: " << (folder_.path() / "model").string() << std::endl;
  return exit_ok;
}

void Run::look_at_reports(Progress& progress) {
  for (const StepReport& report : loop_.reports()) {
    window_.add(report);
    latest_loss_ = report.loss;
    // A scale that was too large is found out like this, and a smaller one is the answer while there is one.
    const bool expected = report.overflowed && report.loss_scale > kernels::LossScaleRule().least;
    bad_in_a_row_ = report.finite || expected ? 0 : bad_in_a_row_ + 1;
    if (!report.finite) {
      progress.say("step " + std::to_string(report.step + 1) +
                   (report.overflowed
                        ? ": a gradient overflowed; the loss scale is now " + short_number(report.loss_scale)
                        : ": loss or gradient is not finite") +
                   "; the step is skipped");
      Json line{{"step", report.step + 1}, {"skipped", true}};
      if (report.overflowed) line["loss_scale"] = report.loss_scale;
      folder_.log(line);
    }
    if (bad_in_a_row_ >= settings_.patience)
      throw Error(ErrorKind::numeric, std::to_string(bad_in_a_row_) +
                                          " steps in a row were not finite; lower --lr, or continue from a "
                                          "checkpoint with another --seed");
  }
}

void Run::write_log(int64_t step, double lr) {
  const double seconds = std::chrono::duration<double>(Clock::now() - window_.begin).count();
  const double steps = static_cast<double>(std::max<int64_t>(1, window_.steps));
  const double images =
      static_cast<double>((window_.steps + window_.skipped) * settings_.batch * settings_.accumulate);
  Json quartiles = Json::array();
  for (size_t q = 0; q < 4; ++q)
    quartiles.push_back(window_.quartile_count[q]
                            ? Json(window_.quartile_sum[q] / static_cast<double>(window_.quartile_count[q]))
                            : Json());
  Json line{{"step", step},
            {"epoch", reader_.epoch_of(step)},
            {"loss", window_.steps ? Json(window_.loss / steps) : Json()},
            {"loss_quartiles", quartiles},
            {"gradient_norm", window_.steps ? Json(window_.gradient_norm / steps) : Json()},
            {"skipped_steps", window_.skipped},
            {"lr", lr},
            {"images_per_second", images / seconds},
            {"memory_bytes", resident_bytes()}};
  if (optimiser_.loss_scale().defined()) line["loss_scale"] = window_.loss_scale;
  folder_.log(line);
  window_ = {};
}

void Run::write_grids(int64_t step) {
  const auto paused = Clock::now();
  model_.network->evaluate();
  const std::filesystem::path samples = folder_.path() / "samples";
  write_preview(*model_.network, model_.card, settings_, samples / step_name("raw", step));
  {
    const EmaScope averages(*model_.network, ema_);
    write_preview(*model_.network, model_.card, settings_, samples / step_name("ema", step));
  }
  model_.network->train();
  write_loss_plot(folder_.path() / "log.jsonl", folder_.path() / "loss.png");
  window_.begin += Clock::now() - paused;
}

void Run::write_checkpoint(int64_t step) {
  if (step == last_checkpoint_) return;
  const auto paused = Clock::now();
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.state = {{"settings", settings_.identity()},
                      {"optimiser_steps", optimiser_.steps()},
                      {"ema_updates", ema_.updates()}};
  if (optimiser_.loss_scale().defined()) {
    const kernels::LossScale scale = optimiser_.loss_scaling();
    checkpoint.state["loss_scale"] = {{"scale", scale.scale}, {"good_steps", scale.good_steps}};
  }
  checkpoint.weights = state_of(*model_.network);
  checkpoint.ema = ema_.state();
  checkpoint.optimiser = optimiser_.state();
  save_checkpoint(folder_.path(), checkpoint, settings_.keep);
  last_checkpoint_ = step;
  window_.begin += Clock::now() - paused;
}

void Run::write_model() {
  write_loss_plot(folder_.path() / "log.jsonl", folder_.path() / "loss.png");
  const EmaScope averages(*model_.network, ema_);
  save_diffusion_model(folder_.path() / "model", *model_.network, model_.card,
                       dtype_of_name(settings_.save_dtype));
}

}  // namespace

int train(const TrainingSettings& settings, const Options& options) {
  const Device device = settings.device.choose(settings.quiet);  // before a folder is made
  precision_dtype(settings.precision, device);
  return Run(settings, options, device).train();
}

}  // namespace tw
