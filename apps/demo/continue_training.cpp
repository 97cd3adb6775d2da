#include <chrono>
#include <filesystem>
#include <fstream>

#include "apps/demo/demo.h"
#include "apps/report/plot.h"
#include "apps/training/trainer.h"
#include "tensor/error.h"

namespace tw {
namespace {

const char* name_of_schedule(const ScheduleParams& schedule) {
  return schedule.kind == BetaSchedule::squaredcos_cap_v2 ? "cosine" : "linear";
}

const char* option_of(Prediction prediction) {
  return prediction == Prediction::epsilon ? "epsilon" : prediction == Prediction::v ? "v" : "x0";
}

double mean(const std::vector<double>& values, size_t begin, size_t end) {
  double sum = 0;
  for (size_t i = begin; i < end; ++i) sum += values[i];
  return sum / static_cast<double>(std::max<size_t>(1, end - begin));
}

}  // namespace

Continuation continue_training(const DemoSettings& settings) {
  const std::filesystem::path run = std::filesystem::path(settings.out) / "training";
  std::filesystem::remove_all(run);  // of an earlier demo
  const DiffusionModel model = load_diffusion_model(settings.model);
  const UNetConfig& config = model.network->config();

  // What a user would type: tw-train --data emoji --init models/emoji-32 ...
  std::vector<std::string> words{"tw-train",
                                 "--data",
                                 "emoji",
                                 "--init",
                                 settings.model,
                                 "--model",
                                 (std::filesystem::path(settings.model) / "config.json").string(),
                                 "--resolution",
                                 std::to_string(config.resolution),
                                 "--schedule",
                                 name_of_schedule(model.card.schedule),
                                 "--prediction",
                                 option_of(model.card.prediction),
                                 "--steps",
                                 std::to_string(settings.train_steps),
                                 "--batch",
                                 "16",
                                 "--lr",
                                 "1e-4",
                                 "--warmup",
                                 "5",
                                 "--ema",
                                 "0.999",
                                 "--log-every",
                                 "1",
                                 "--sample-every",
                                 "0",
                                 "--checkpoint-every",
                                 "0",
                                 "--seed",
                                 std::to_string(settings.seed + 1),
                                 "--threads",
                                 std::to_string(settings.threads),
                                 "--out",
                                 run.string()};
  if (config.classes > 0) words.push_back("--conditional");
  if (settings.quiet) words.push_back("--quiet");
  std::vector<const char*> arguments;
  for (const std::string& word : words) arguments.push_back(word.c_str());
  TrainingSettings training;
  Options options("tw-train", "Trains a diffusion model on images.");
  training.declare(options);
  options.parse(static_cast<int>(arguments.size()), arguments.data());

  const auto begin = std::chrono::steady_clock::now();
  if (train(training, options) != 0) throw Error(ErrorKind::numeric, "demo: the training was interrupted");
  Continuation result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  Series raw{.name = "each step", .x = {}, .y = {}, .faint = true};
  std::ifstream log(run / "log.jsonl");
  for (std::string line; std::getline(log, line);) {
    const auto record = nlohmann::json::parse(line);
    if (!record.contains("loss")) continue;
    raw.x.push_back(record["step"]);
    raw.y.push_back(record["loss"]);
    result.images_per_second = record["images_per_second"];
  }
  if (raw.y.empty()) fail_data((run / "log.jsonl").string(), "holds no steps");
  const size_t n = raw.y.size(), quarter = std::max<size_t>(1, n / 4);
  result.first_loss = mean(raw.y, 0, quarter);
  result.last_loss = mean(raw.y, n - quarter, n);
  const Series smooth{.name = "smoothed", .x = raw.x, .y = smoothed(raw.y, 5)};
  result.curve =
      plot({raw, smooth}, {.title = "Loss, training continued", .x_label = "step", .y_label = "loss"});
  return result;
}

}  // namespace tw
