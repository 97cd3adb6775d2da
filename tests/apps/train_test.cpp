// tw-train as a user runs it: resuming after kill -9 and after Ctrl-C, exit codes, and what a run folder
// holds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tensor/io/npy.h"
#include "tensor/random.h"
#include "tests/apps/program.h"

namespace tw {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Train : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<float> noise(23 * 8 * 8 * 3);
    fill_uniform(noise, {.seed = 5, .purpose = Purpose::measurement});
    std::vector<uint8_t> pixels;
    for (float v : noise) pixels.push_back(static_cast<uint8_t>(v * 255));
    save_npy((folder_ / "data.npy").string(), Tensor::from(pixels, {23, 8, 8, 3}));
  }

  std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> all{"--data",
                                 "npy:" + (folder_ / "data.npy").string(),
                                 "--resolution",
                                 "8",
                                 "--model",
                                 "tiny",
                                 "--batch",
                                 "3",
                                 "--warmup",
                                 "5",
                                 "--flip",
                                 "--sample-every",
                                 "0",
                                 "--quiet",
                                 "--threads",
                                 "1",
                                 "--out",
                                 (folder_ / out).string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Outcome train(const std::string& out, const std::vector<std::string>& more) const {
    return run_program(folder_, "tw-train", arguments(out, more));
  }
  // Starts a run, waits until a checkpoint is there, and sends a signal.
  int stop_after_a_checkpoint(const std::string& out, const std::vector<std::string>& more,
                              int signal_number) const {
    Program program(folder_, "tw-train", arguments(out, more));
    for (int i = 0; i < 60'000 && !fs::exists(folder_ / out / "checkpoints" / "step-00000005"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return program.signal_and_wait(signal_number);
  }
  void expect_equal_runs(const std::string& a, const std::string& b, const std::string& step) const {
    for (const std::string name : {"weights", "ema", "optimiser"}) {
      const std::string file = "checkpoints/" + step + "/" + name + ".safetensors";
      ASSERT_TRUE(fs::exists(folder_ / a / file)) << file;
      EXPECT_TRUE(text_of(folder_ / a / file) == text_of(folder_ / b / file)) << file;
    }
    EXPECT_TRUE(text_of(folder_ / a / "model/weights.safetensors") ==
                text_of(folder_ / b / "model/weights.safetensors"));
  }

  TestFolder folder_;
};

TEST_F(Train, KilledAndResumedGivesTheWeightsOfAnUninterruptedRun) {
  const std::vector<std::string> settings{"--steps", "80", "--checkpoint-every", "5", "--accumulate", "2"};
  ASSERT_EQ(train("whole", settings).code, 0);
  ASSERT_EQ(stop_after_a_checkpoint("killed", settings, SIGKILL), -SIGKILL);
  ASSERT_FALSE(fs::exists(folder_ / "killed" / "model"));
  const Outcome resumed = run_program(
      folder_, "tw-train", {"--resume", "latest", "--out", (folder_ / "killed").string(), "--threads", "2"});
  ASSERT_EQ(resumed.code, 0) << resumed.errors;
  expect_equal_runs("whole", "killed", "step-00000080");
}

TEST_F(Train, InterruptedLeavesACheckpointAndResumes) {
  const std::vector<std::string> settings{"--steps", "80", "--checkpoint-every", "5", "--log-every", "1"};
  ASSERT_EQ(train("whole", settings).code, 0);
  ASSERT_EQ(stop_after_a_checkpoint("stopped", settings, SIGINT), 130);
  ASSERT_EQ(train("stopped", {"--resume", "latest", "--steps", "80"}).code, 0);
  expect_equal_runs("whole", "stopped", "step-00000080");

  // The log names every step once, in order.
  std::ifstream log(folder_ / "stopped" / "log.jsonl");
  int64_t expected = 1;
  for (std::string line; std::getline(log, line); ++expected) {
    const auto entry = nlohmann::json::parse(line);
    ASSERT_EQ(entry["step"], expected);
    EXPECT_EQ(entry["loss_quartiles"].size(), 4u);
    for (const char* key : {"loss", "gradient_norm", "lr", "images_per_second", "memory_bytes"})
      EXPECT_TRUE(entry.contains(key)) << key;
  }
  EXPECT_EQ(expected, 81);
}

TEST_F(Train, RunFolderIsComplete) {
  ASSERT_EQ(train("run", {"--steps", "12", "--checkpoint-every", "3", "--keep", "2", "--sample-every", "12",
                          "--sample-count", "4", "--sample-steps", "3", "--save-dtype", "bf16"})
                .code,
            0);
  for (const char* name :
       {"config.json", "command.txt", "version.txt", "log.jsonl", "model/config.json",
        "model/weights.safetensors", "samples/ema-00000012.png", "samples/raw-00000012.png", "loss.png",
        "checkpoints/step-00000009", "checkpoints/step-00000012"})
    EXPECT_TRUE(fs::exists(folder_ / "run" / name)) << name;
  EXPECT_FALSE(fs::exists(folder_ / "run/checkpoints/step-00000006"));
  EXPECT_EQ(nlohmann::json::parse(text_of(folder_ / "run/config.json"))["steps"], 12);
}

TEST_F(Train, RecomputeAndConfigFileChangeNothing) {
  ASSERT_EQ(train("plain", {"--steps", "4"}).code, 0);
  ASSERT_EQ(train("recompute", {"--steps", "4", "--recompute"}).code, 0);
  expect_equal_runs("plain", "recompute", "step-00000004");
  const Outcome from_config = run_program(
      folder_, "tw-train",
      {"--config", (folder_ / "plain/config.json").string(), "--out", (folder_ / "config").string()});
  ASSERT_EQ(from_config.code, 0) << from_config.errors;
  expect_equal_runs("plain", "config", "step-00000004");
}

TEST_F(Train, Bf16Trains) { ASSERT_EQ(train("bf16", {"--steps", "3", "--precision", "bf16"}).code, 0); }

TEST_F(Train, MistakesHaveTheirExitCodes) {
  const Outcome typo = train("a", {"--stpes", "3"});
  EXPECT_EQ(typo.code, 2);
  EXPECT_THAT(typo.errors, HasSubstr("did you mean --steps?"));
  EXPECT_EQ(train("a", {"--batch", "0"}).code, 2);
  EXPECT_EQ(train("a", {"--model", "tinny"}).code, 2);
  EXPECT_EQ(train("a", {"--conditional"}).code, 2);  // the array has no classes
  EXPECT_EQ(train("a", {"--resume", "latest"}).code, 3);
  EXPECT_EQ(train("data.npy", {"--steps", "1"}).code, 3);  // --out is a file
  EXPECT_EQ(train("a", {"--data", "folder:/nonexistent"}).code, 3);
  EXPECT_EQ(train("a", {"--data", "nonsense"}).code, 2);
  EXPECT_EQ(run_program(folder_, "tw-train", {}).code, 2);
  EXPECT_EQ(run_program(folder_, "tw-train", {"--help"}).code, 0);

  ASSERT_EQ(train("done", {"--steps", "1"}).code, 0);
  const Outcome twice = train("done", {"--steps", "1"});
  EXPECT_EQ(twice.code, 2);
  EXPECT_THAT(twice.errors, HasSubstr("--resume latest"));
}

TEST_F(Train, ManyNonFiniteStepsStopTheRun) {
  const Outcome diverged =
      train("nan", {"--steps", "100", "--lr", "1e30", "--warmup", "0", "--patience", "3"});
  EXPECT_EQ(diverged.code, 4);
  EXPECT_THAT(diverged.errors, HasSubstr("3 steps in a row were not finite"));
}

TEST_F(Train, DamagedCheckpointIsADataError) {
  ASSERT_EQ(train("run", {"--steps", "3"}).code, 0);
  const fs::path weights = folder_ / "run/checkpoints/step-00000003/weights.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 100);
  const Outcome outcome = train("run", {"--resume", "latest", "--steps", "6"});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.errors, HasSubstr("weights.safetensors"));
}

}  // namespace
}  // namespace tw
