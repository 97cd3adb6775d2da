// tw-sample, tw-eval, tw-inspect and tw-bench as a user runs them, on a model that tw-train made in two
// steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "apps/image/png.h"
#include "apps/sampling/diffusion_model.h"
#include "apps/sampling/draw.h"
#include "diffusion/noise.h"
#include "diffusion/sampler/loop.h"
#include "tensor/cuda_library.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/random.h"
#include "tests/apps/program.h"
#include "tests/random_tensor.h"
#include "tests/small_unet.h"

namespace tw {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Sample : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TestFolder;
    make_model("model", 3, false, "cosine");
  }
  static void TearDownTestSuite() { delete shared_; }

  // 8-bit data for a model of its own; 16-bit when `deep`.
  static void make_model(const std::string& name, int64_t channels, bool deep, const std::string& schedule) {
    std::vector<float> noise(static_cast<size_t>(9 * 8 * 8 * channels));
    fill_uniform(noise, {.seed = 5, .purpose = Purpose::measurement});
    std::vector<uint8_t> bytes;
    for (float v : noise) bytes.push_back(static_cast<uint8_t>(v * 255));
    const std::string data = (*shared_ / (name + ".npy")).string();
    save_npy(data, Tensor::from(bytes, {9, 8, 8, channels}));
    const Outcome outcome = run_program(*shared_, "tw-train",
                                        {"--data",
                                         "npy:" + data,
                                         "--resolution",
                                         "8",
                                         "--model",
                                         "tiny",
                                         "--batch",
                                         "2",
                                         "--steps",
                                         "2",
                                         "--lr",
                                         "0.01",
                                         "--warmup",
                                         "0",
                                         "--ema",
                                         "0",
                                         "--schedule",
                                         schedule,
                                         "--sample-every",
                                         "0",
                                         "--quiet",
                                         "--out",
                                         (*shared_ / (name + "-run")).string()});
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    fs::rename(*shared_ / (name + "-run") / "model", *shared_ / name);
    if (!deep) return;
    auto config = nlohmann::ordered_json::parse(text_of(*shared_ / name / "config.json"));
    config["data"]["bit_depth"] = 16;
    std::ofstream(*shared_ / name / "config.json") << config.dump();
  }

  std::string model(const std::string& name = "model") const { return (*shared_ / name).string(); }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  Outcome sample(std::vector<std::string> more, const std::string& from = "model") const {
    more.insert(more.begin(), {"--model", model(from), "--quiet"});
    return run_program(folder_, "tw-sample", more);
  }
  // `samples` of a run with these options.
  std::string samples(std::vector<std::string> more) const {
    more.insert(more.end(), {"--save-tensor", at("s.safetensors")});
    const Outcome outcome = sample(more);
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    return text_of(folder_ / "s.safetensors");
  }

  static TestFolder* shared_;
  TestFolder folder_;
};
TestFolder* Sample::shared_ = nullptr;

TEST_F(Sample, ThreadsAndBatchChangeNothing) {
  for (const char* sampler : {"ddpm", "ddim"}) {
    const std::vector<std::string> settings{"--seeds", "0-6,100", "--sampler", sampler, "--steps", "4"};
    const auto with = [&](const char* batch, const char* threads) {
      std::vector<std::string> all = settings;
      all.insert(all.end(), {"--batch", batch, "--threads", threads});
      return samples(all);
    };
    const std::string reference = with("1", "1");
    EXPECT_TRUE(reference == with("8", "1")) << sampler;
    EXPECT_TRUE(reference == with("3", "2")) << sampler;
    EXPECT_TRUE(reference == with("8", "2")) << sampler;
  }
}

// Maps of 32 and 16 pixels, where Winograd convolution is used; the network was trained, so that rounding is
// not amplified. Measured: 2.6e-6.
TEST_F(Sample, ExactSamplesAreCloseToTheOthers) {
  const std::vector<std::string> settings{"--model", std::string(TW_SOURCE_DIR) + "/models/emoji-32",
                                          "--num",   "1",
                                          "--steps", "5",
                                          "--quiet", "--save-tensor"};
  const auto drawn = [&](std::vector<std::string> more) {
    std::vector<std::string> all = settings;
    all.push_back(at("drawn.safetensors"));
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run_program(folder_, "tw-sample", all);
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    return load_safetensors(folder_ / "drawn.safetensors").tensors.at("samples").to_vector();
  };
  const std::vector<double> exact = drawn({"--exact"}), fast = drawn({});
  ASSERT_EQ(exact.size(), fast.size());
  double error = 0;
  for (size_t i = 0; i < exact.size(); ++i) error = std::max(error, std::abs(exact[i] - fast[i]));
  EXPECT_LE(error, 1e-4);
  EXPECT_GT(error, 0) << "--exact changed nothing";
}

TEST_F(Sample, SeedsDecideTheImage) {
  EXPECT_EQ(sample({"--seeds", "3,5", "--steps", "3", "--out", at("a")}).code, 0);
  EXPECT_EQ(sample({"--num", "6", "--steps", "3", "--out", at("b")}).code, 0);
  EXPECT_EQ(read_png(at("a/000003.png")).pixels, read_png(at("b/000003.png")).pixels);
  EXPECT_NE(read_png(at("a/000003.png")).pixels, read_png(at("a/000005.png")).pixels);
}

TEST_F(Sample, ReproducesAnImageFromItsText) {
  ASSERT_EQ(sample({"--seeds", "7", "--steps", "3", "--sampler", "ddpm", "--out", at("a")}).code, 0);
  Outcome again =
      run_program(folder_, "tw-sample", {"--reproduce", at("a/000007.png"), "--quiet", "--out", at("b")});
  EXPECT_EQ(again.code, 0) << again.errors;
  EXPECT_THAT(again.output, HasSubstr("identical"));
  EXPECT_EQ(read_png(at("a/000007.png")).pixels, read_png(at("b/000007.png")).pixels);

  Image changed = read_png(at("a/000007.png"));
  changed.pixels[0] ^= 4;
  write_png(at("changed.png"), changed);
  again = run_program(folder_, "tw-sample", {"--reproduce", at("changed.png"), "--quiet"});
  EXPECT_EQ(again.code, 4);
  EXPECT_THAT(again.output, HasSubstr("largest difference of a pixel 4"));

  changed.text.clear();
  write_png(at("plain.png"), changed);
  EXPECT_EQ(run_program(folder_, "tw-sample", {"--reproduce", at("plain.png")}).code, 3);
}

TEST_F(Sample, InjectedDrawsGiveTheImageOfTheSeed) {
  SeededNoise noise({4, 9}, Shape{8, 8, 3});
  const Tensor start = channels_first(noise.start());
  Tensor draws = Tensor::empty({4, 2, 3, 8, 8});
  for (int64_t k = 0; k < 4; ++k) draws.select(0, k).copy_from(channels_first(noise.draw(k)));
  save_safetensors(at("noise.safetensors"), {{"x_T", start}, {"noise", draws}});
  const std::vector<std::string> settings{"--sampler", "ddpm", "--steps", "4"};
  std::vector<std::string> seeded = settings, injected = settings;
  seeded.insert(seeded.end(), {"--seeds", "4,9"});
  injected.insert(injected.end(), {"--inject", at("noise.safetensors")});
  EXPECT_TRUE(samples(seeded) == samples(injected));
}

TEST_F(Sample, SkipsExistingImagesWithTheSameSettings) {
  ASSERT_EQ(sample({"--num", "2", "--steps", "3", "--out", at("a")}).code, 0);
  const auto before = fs::last_write_time(folder_ / "a" / "000000.png");
  ASSERT_EQ(sample({"--num", "3", "--steps", "3", "--out", at("a"), "--skip-existing"}).code, 0);
  EXPECT_EQ(fs::last_write_time(folder_ / "a" / "000000.png"), before);
  EXPECT_TRUE(fs::exists(folder_ / "a" / "000002.png"));
  ASSERT_EQ(sample({"--num", "1", "--steps", "2", "--out", at("a"), "--skip-existing"}).code, 0);
  EXPECT_NE(fs::last_write_time(folder_ / "a" / "000000.png"), before);
}

TEST_F(Sample, WritesGridTrajectoryAndSixteenBitGrey) {
  make_model("grey", 1, true, "linear");
  const Outcome outcome =
      sample({"--num", "4", "--steps", "4", "--out", at("a"), "--grid", at("g.png"), "--trajectory",
              at("t.gif"), "--every", "2", "--what", "xt", "--precision", "bf16"},
             "grey");
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const Image image = read_png(at("a/000001.png"));
  EXPECT_EQ(image.channels, 1);
  EXPECT_EQ(image.bit_depth, 16);
  EXPECT_GT(read_png(at("g.png")).width, 16);
  EXPECT_EQ(text_of(folder_ / "t.gif").substr(0, 6), "GIF89a");
}

// Time embeddings are made for a part of the steps at a time.
TEST(Draw, EveryStepOfALongScheduleHasItsOwnTime) {
  const std::unique_ptr<UNet> network = small_unet();
  const Schedule schedule;
  SamplerSettings settings;
  settings.steps = 130;
  const SamplerTable table = make_table(schedule, Prediction::epsilon, {}, settings);
  const Denoiser denoiser = denoiser_of(*network, table, 1, {});
  const NoGrad no_grad;
  const Tensor x = random_tensor({1, 8, 8, 3});
  std::vector<double> last;
  for (const int64_t step : {0, 63, 64, 129, 5}) {
    const auto t = static_cast<double>(table.timesteps()[static_cast<size_t>(step)]);
    const std::vector<double> found = denoiser(x, step).value().to_vector();
    EXPECT_EQ(found, network->forward(x, Tensor::full({1}, t)).value().to_vector()) << "step " << step;
    EXPECT_NE(found, last) << "the time matters";
    last = found;
  }
}

// A denoiser that a repeated loop has used still takes the times of steps that are run one by one; and a
// repeated loop goes on where another part of a long schedule begins.
TEST(CudaDraw, ADenoiserServesOneLoopAfterTheOther) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const std::unique_ptr<UNet> network = small_unet();
  network->to(Device::cuda);
  network->freeze();
  const Schedule schedule;
  const auto expect_equal = [&](int64_t steps, std::initializer_list<bool> repeats) {
    SamplerSettings settings;
    settings.steps = steps;
    const SamplerTable table = make_table(schedule, Prediction::epsilon, {}, settings);
    const Denoiser denoiser = denoiser_of(*network, table, 1, {});
    std::vector<double> first;
    for (const bool repeat : repeats) {
      SeededNoise noise({7}, {8, 8, 3}, Device::cuda);
      const LoopOptions options{
          .observe = {}, .scope = planned_steps(PlannedArena::on(Device::cuda)), .repeat = repeat};
      const std::vector<double> found = sample(denoiser, table, noise.start(), noise, options).to_vector();
      if (first.empty()) first = found;
      EXPECT_EQ(found, first) << steps << " steps, repeated: " << repeat;
    }
  };
  expect_equal(5, {false, true, false, true});
  expect_equal(66, {false, true});
}

// A network that has learned the variance too: DDPM draws with it, DDIM has no use for it.
TEST_F(Sample, LearnedVariances) {
  UNetConfig config = unet_preset("tiny");
  config.resolution = 8;
  config.out_channels = 6;
  config.scale_shift_norm = config.residual_resample = true;
  UNet network(config, 3);
  for (Parameter& p : network.parameters())
    if (p.name.starts_with("conv_out"))
      p.value.mutable_value() = random_tensor(p.value.shape(), DType::f32, 1, 0.02);
  ModelCard card;
  card.sampling.variance = "learned_range";
  save_diffusion_model(at("adm"), network, card, DType::f32);
  const auto drawn = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--model", at("adm"), "--quiet", "--num", "2", "--steps", "4", "--save-tensor",
                               at("s.safetensors")});
    const Outcome outcome = run_program(folder_, "tw-sample", more);
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    return load_safetensors(at("s.safetensors")).at("samples").to_vector();
  };
  const auto learned = drawn({"--sampler", "ddpm"});
  EXPECT_EQ(learned, drawn({"--sampler", "ddpm", "--variance", "learned_range"}));
  EXPECT_NE(learned, drawn({"--sampler", "ddpm", "--variance", "fixed_large"}));
  EXPECT_EQ(learned.size(), drawn({"--sampler", "ddim"}).size());

  card.sampling.variance = "fixed_small";
  save_diffusion_model(at("adm"), network, card, DType::f32);
  const Outcome outcome =
      run_program(folder_, "tw-sample", {"--model", at("adm"), "--num", "1", "--out", at("a")});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.errors, HasSubstr("gives 6 channels, the data has 3"));
}

TEST_F(Sample, MistakesHaveTheirExitCodes) {
  EXPECT_EQ(sample({"--num", "1"}).code, 2);                                    // nothing to write
  EXPECT_EQ(sample({"--out", at("a")}).code, 2);                                // nothing to draw
  EXPECT_EQ(sample({"--num", "1", "--seeds", "1", "--out", at("a")}).code, 2);  // both
  EXPECT_EQ(sample({"--num", "1", "--class", "2", "--out", at("a")}).code, 2);  // no classes
  EXPECT_EQ(sample({"--num", "1", "--steps", "0", "--out", at("a")}).code, 2);
  EXPECT_EQ(sample({"--num", "1", "--steps", "1001", "--out", at("a")}).code, 2);
  EXPECT_EQ(sample({"--num", "1", "--eta", "2", "--out", at("a")}).code, 2);
  EXPECT_EQ(sample({"--num", "1", "--sampler", "dpm", "--out", at("a")}).code, 2);
  EXPECT_EQ(sample({"--num", "1", "--out", model() + "/config.json"}).code, 3);  // a file
  EXPECT_EQ(sample({"--num", "1", "--grid", at("missing/g.png")}).code, 3);
  EXPECT_EQ(sample({"--num", "1", "--out", at("a")}, "nowhere").code, 3);
  EXPECT_EQ(sample({"--inject", at("none.safetensors"), "--out", at("a")}).code, 3);
}

TEST_F(Sample, DamagedModelFoldersAreDataErrors) {
  const fs::path copy = *shared_ / "damaged";
  const auto damage = [&](const std::string& file, const std::string& content) {
    fs::remove_all(copy);
    fs::copy(model(), copy);
    std::ofstream(copy / file, std::ios::binary) << content;
    const Outcome outcome = sample({"--num", "1", "--out", at("a")}, "damaged");
    EXPECT_EQ(outcome.code, 3) << outcome.errors;
    EXPECT_THAT(outcome.errors, HasSubstr("damaged"));
  };
  const std::string config = text_of(*shared_ / "model" / "config.json");
  const std::string weights = text_of(*shared_ / "model" / "weights.safetensors");
  damage("config.json", "");
  damage("config.json", "{\"network\": 3}");
  damage("config.json", config.substr(0, config.size() / 2));
  auto json = nlohmann::ordered_json::parse(config);
  json["diffusion"].erase("prediction");
  damage("config.json", json.dump());
  json = nlohmann::ordered_json::parse(config);
  json["network"]["base"] = 32;
  damage("config.json", json.dump());
  json = nlohmann::ordered_json::parse(config);
  json["diffusion"]["timesteps"] = -4;
  damage("config.json", json.dump());
  damage("weights.safetensors", "");
  damage("weights.safetensors", weights.substr(0, weights.size() - 1));
  damage("weights.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f" + weights.substr(8));
}

TEST_F(Sample, EvalGivesTheNetworksOutput) {
  const Tensor x = random_normal({3, 8, 8}, std::vector<uint64_t>{1, 2}, 0, Purpose::measurement);
  save_safetensors(at("in.safetensors"), {{"x", x}, {"t", Tensor::from(std::vector<float>{17, 900})}});
  const Outcome outcome = run_program(
      folder_, "tw-eval", {"--model", model(), "--in", at("in.safetensors"), "--out", at("out.safetensors")});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const DiffusionModel loaded = load_diffusion_model(model());
  const NoGrad no_grad;
  const Var y = loaded.network->forward(channels_last(x), Tensor::from(std::vector<float>{17, 900}));
  EXPECT_EQ(load_safetensors(at("out.safetensors")).at("y").to_vector(),
            channels_first(y.value()).to_vector());

  save_safetensors(at("bad.safetensors"), {{"x", x}});
  EXPECT_EQ(
      run_program(folder_, "tw-eval", {"--model", model(), "--in", at("bad.safetensors"), "--out", at("o")})
          .code,
      3);
}

TEST_F(Sample, InspectListsAndPlans) {
  Outcome outcome = run_program(folder_, "tw-inspect", {model(), "--plan"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  for (const char* text : {"conv_in.weight", "parameters", "164,563", "multiply-accumulates", "arena",
                           "down_blocks.0.resnets.0/conv1"})
    EXPECT_THAT(outcome.output, HasSubstr(text));
  outcome = run_program(folder_, "tw-inspect", {model() + "/weights.safetensors"});
  EXPECT_THAT(outcome.output, HasSubstr("conv_in.weight"));
  outcome = run_program(folder_, "tw-inspect", {"--list"});
  EXPECT_THAT(outcome.output, HasSubstr("35,746,307"));
  EXPECT_EQ(run_program(folder_, "tw-inspect", {at("none")}).code, 3);
  EXPECT_EQ(run_program(folder_, "tw-inspect", {}).code, 2);
}

TEST_F(Sample, BenchWritesItsRows) {
  for (const char* mode : {"sample", "dps", "train"}) {
    const Outcome outcome = run_program(folder_, "tw-bench",
                                        {"net", "--model", "tiny", "--mode", mode, "--batch", "1,2",
                                         "--repeat", "2", "--json", at("b.json")});
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    const auto result = nlohmann::json::parse(text_of(folder_ / "b.json"));
    ASSERT_EQ(result["rows"].size(), 2u);
    EXPECT_EQ(result["rows"][1]["batch"], 2);
    EXPECT_GT(result["rows"][1]["seconds_per_image"].get<double>(), 0);
  }
}

TEST_F(Sample, BenchChecksAStep) {
  const Tensor images = Tensor::full({2, 3, 32, 32}, 0.25), times = Tensor::full({2}, 500);
  save_safetensors(at("in.safetensors"), {{"x", images}, {"t", times}, {"v", images}});
  const auto results = [&](const std::string& mode) {
    const Outcome outcome = run_program(folder_, "tw-bench",
                                        {"check", "--model", model(), "--mode", mode, "--inputs",
                                         at("in.safetensors"), "--outputs", at("out.safetensors")});
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    return load_safetensors(at("out.safetensors"));
  };
  const Tensor y = results("sample").at("y");
  EXPECT_EQ(y.shape(), images.shape());
  EXPECT_EQ(results("dps").at("dx").shape(), images.shape());
  const SafeTensors trained = results("train");
  double loss = 0;
  for (const double value : trained.at("y").to_vector()) loss += (value - 0.25) * (value - 0.25);
  EXPECT_NEAR(trained.at("loss").item(), loss / static_cast<double>(y.numel()), 1e-5);
  EXPECT_EQ(trained.at("dw").dim(1), 3);
}

TEST_F(Sample, BenchTimesConvolutionsAndTheMachine) {
  std::ofstream(at("list.json")) << R"([{"n": 1, "h": 8, "w": 8, "ci": 4, "co": 8, "k": 3, "stride": 2,
                                         "pad": [0, 1, 0, 1]}])";
  Outcome outcome = run_program(
      folder_, "tw-bench", {"convs", "--list", at("list.json"), "--repeat", "1", "--json", at("convs.json")});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const auto row = nlohmann::json::parse(text_of(folder_ / "convs.json"))["convolutions"][0];
  for (const char* pass : {"forward", "data", "weight"}) EXPECT_GT(row[pass].get<double>(), 0);
  outcome = run_program(folder_, "tw-bench", {"machine"});
  EXPECT_GT(nlohmann::json::parse(outcome.output)["peak_flops"].get<double>(), 0);
  EXPECT_EQ(run_program(folder_, "tw-bench", {"nothing"}).code, 2);
}

TEST_F(Sample, ProfileIsPrintedAndTraced) {
  const Outcome outcome = run_program(folder_, "tw-sample",
                                      {"--model", model(), "--num", "1", "--steps", "3", "--save-tensor",
                                       at("s.safetensors"), "--profile", at("trace.json")});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  for (const char* text : {"profile of", "conv2d_forward", "sampler_step", "between ops"})
    EXPECT_THAT(outcome.errors, HasSubstr(text));
  const auto trace = nlohmann::json::parse(text_of(folder_ / "trace.json"));
  int steps = 0;
  for (const auto& event : trace["traceEvents"]) steps += event["name"] == "sampler_step";
  EXPECT_EQ(steps, 3);
}

}  // namespace
}  // namespace tw
