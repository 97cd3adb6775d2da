// Options: command line, config file, and what is said about mistakes.
#include "apps/cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "apps/cli/run_main.h"
#include "apps/cli/suggest.h"
#include "tensor/error.h"

namespace tw {
namespace {

struct Settings {
  std::string out;
  int64_t steps = 1000;
  double rate = 2e-4;
  bool flip = false;
  std::vector<int64_t> batches{1, 4};
  std::string precision = "f32";
  std::string input;

  void declare(Options& options) {
    options.group("Training");
    options.add("--out", out, "where to", "DIR");
    options.add("--steps", steps, "how many");
    options.add("--lr", rate, "learning rate");
    options.add("--flip", flip, "mirror");
    options.add("--batch", batches, "batch sizes");
    options.add_choice("--precision", precision, {"f32", "bf16"}, "of activations");
    options.add("input", input, "file", "FILE");
  }
};

class OptionsTest : public testing::Test {
 protected:
  bool parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "tw-test");
    options_ = std::make_unique<Options>("tw-test", "A test.");
    settings_ = {};
    settings_.declare(*options_);
    return options_->parse(static_cast<int>(arguments.size()), arguments.data());
  }
  std::string error_of(const std::vector<const char*>& arguments) {
    try {
      parse(arguments);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::string config(const std::string& text) {
    const std::string path = testing::TempDir() + "/options_test.json";
    std::ofstream(path) << text;
    return path;
  }
  std::unique_ptr<Options> options_;
  Settings settings_;
};

TEST_F(OptionsTest, ReadsEveryKind) {
  ASSERT_TRUE(parse({"--out", "a b", "--steps=7", "--lr", "1e-3", "--flip", "--batch", "1,8", "--precision",
                     "bf16", "photo.png"}));
  EXPECT_EQ(settings_.out, "a b");
  EXPECT_EQ(settings_.steps, 7);
  EXPECT_DOUBLE_EQ(settings_.rate, 1e-3);
  EXPECT_TRUE(settings_.flip);
  EXPECT_THAT(settings_.batches, testing::ElementsAre(1, 8));
  EXPECT_EQ(settings_.precision, "bf16");
  EXPECT_EQ(settings_.input, "photo.png");
  EXPECT_TRUE(options_->given("--steps"));
  EXPECT_EQ(options_->command_line(),
            "tw-test --out 'a b' --steps=7 --lr 1e-3 --flip --batch 1,8 --precision bf16 photo.png");
}

TEST_F(OptionsTest, LeavesDefaults) {
  ASSERT_TRUE(parse({}));
  EXPECT_EQ(settings_.steps, 1000);
  EXPECT_FALSE(options_->given("--steps"));
  EXPECT_THROW(options_->require("--out"), Error);
}

TEST_F(OptionsTest, SuggestsTheNearestName) {
  EXPECT_THAT(error_of({"--stpes", "3"}),
              testing::HasSubstr("unknown option --stpes; did you mean --steps?"));
  EXPECT_THAT(error_of({"--percision=f32"}), testing::HasSubstr("did you mean --precision?"));
  EXPECT_THAT(error_of({"--zzzzzzzzzz"}), testing::Not(testing::HasSubstr("did you mean")));
  EXPECT_THAT(error_of({"--precision", "bf61"}),
              testing::HasSubstr("expected f32|bf16, got 'bf61'; did you mean bf16?"));
}

TEST_F(OptionsTest, NamesTheOptionOfABadValue) {
  EXPECT_THAT(error_of({"--steps", "many"}),
              testing::HasSubstr("--steps: expected a whole number, got 'many'"));
  EXPECT_THAT(error_of({"--steps", "3x"}), testing::HasSubstr("'3x'"));
  EXPECT_THAT(error_of({"--steps", "99999999999999999999"}), testing::HasSubstr("--steps"));
  EXPECT_THAT(error_of({"--lr", "nan"}), testing::HasSubstr("finite"));
  EXPECT_THAT(error_of({"--batch", "1,,2"}), testing::HasSubstr("--batch"));
  EXPECT_THAT(error_of({"--steps"}), testing::HasSubstr("--steps"));
  EXPECT_THAT(error_of({"one.png", "two.png"}), testing::HasSubstr("unexpected argument 'two.png'"));
}

TEST_F(OptionsTest, ConfigFillsInAndTheCommandLineWins) {
  const std::string path = config(R"({"steps": 5, "lr": 0.5, "flip": true, "batch": [2, 3], "out": "x"})");
  ASSERT_TRUE(parse({"--config", path.c_str(), "--steps", "9"}));
  EXPECT_EQ(settings_.steps, 9);
  EXPECT_DOUBLE_EQ(settings_.rate, 0.5);
  EXPECT_TRUE(settings_.flip);
  EXPECT_THAT(settings_.batches, testing::ElementsAre(2, 3));
  EXPECT_NO_THROW(options_->require("--out"));
}

TEST_F(OptionsTest, ConfigMistakesAreErrors) {
  std::string path = config(R"({"stesp": 5})");
  EXPECT_THAT(error_of({"--config", path.c_str()}),
              testing::HasSubstr("unknown key \"stesp\"; did you mean steps?"));
  path = config(R"({"steps": {"a": 1}})");
  EXPECT_THAT(error_of({"--config", path.c_str()}), testing::HasSubstr("steps: expected"));
  path = config("{");
  EXPECT_THAT(error_of({"--config", path.c_str()}), testing::HasSubstr("not JSON"));
  path = config("[1]");
  EXPECT_THAT(error_of({"--config", path.c_str()}), testing::HasSubstr("expected a JSON object"));
  EXPECT_THAT(error_of({"--config", "/nonexistent.json"}), testing::HasSubstr("cannot be read"));
}

TEST_F(OptionsTest, ResolvedReadsBackAsAConfig) {
  ASSERT_TRUE(parse({"--steps", "12", "--lr", "0.1", "--flip", "--batch", "7", "--out", "there"}));
  const std::string text = options_->resolved().dump();
  const std::string path = config(text);
  ASSERT_TRUE(parse({"--config", path.c_str()}));
  EXPECT_EQ(options_->resolved().dump(), text);
  EXPECT_EQ(settings_.steps, 12);
}

TEST_F(OptionsTest, HelpIsGrouped) {
  testing::internal::CaptureStdout();
  EXPECT_FALSE(parse({"--help"}));
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, testing::HasSubstr("Training:"));
  EXPECT_THAT(help, testing::HasSubstr("--precision f32|bf16=f32"));
  EXPECT_THAT(help, testing::HasSubstr("General:"));
}

TEST(EditDistance, CountsASwapOnce) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("stpes", "steps"), 1);
}

TEST(RunMain, MapsErrorsToExitCodes) {
  const auto code = [](ErrorKind kind) {
    return run_main("test", [kind]() -> int { throw Error(kind, "expected by the test"); });
  };
  testing::internal::CaptureStderr();
  EXPECT_EQ(code(ErrorKind::usage), 2);
  EXPECT_EQ(code(ErrorKind::data), 3);
  EXPECT_EQ(code(ErrorKind::memory), 3);
  EXPECT_EQ(code(ErrorKind::numeric), 4);
  EXPECT_EQ(run_main("test", []() -> int { throw std::bad_alloc(); }), 3);
  EXPECT_EQ(run_main("test", []() -> int { throw std::logic_error("x"); }), 1);
  EXPECT_EQ(run_main("test", []() -> int { return nlohmann::json::parse("{").size() > 0; }), 3);
  EXPECT_EQ(run_main("test", [] { return 7; }), 7);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("test: expected by the test"));
}

}  // namespace
}  // namespace tw
