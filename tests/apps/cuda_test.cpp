// --device of the binaries: what is said where there is no device, and with one the same files as on the CPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "apps/sampling/diffusion_model.h"
#include "tensor/cuda_library.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/apps/program.h"
#include "tests/random_tensor.h"
#include "tests/small_unet.h"

namespace tw {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

class DeviceOfPrograms : public testing::Test {
 protected:
  void SetUp() override {
    const std::unique_ptr<UNet> network = small_unet();
    ModelCard card;
    card.data = "none";
    save_diffusion_model(path("model"), *network, card, DType::f32);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  Outcome sample(const std::string& device, const std::string& out,
                 std::vector<std::string> more = {}) const {
    std::vector<std::string> all{"--model",       path("model"),
                                 "--num",         "2",
                                 "--steps",       "3",
                                 "--sampler",     "ddpm",
                                 "--device",      device,
                                 "--out",         path(out),
                                 "--save-tensor", path(out + ".safetensors")};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(folder_, "tw-sample", all);
  }
  Tensor tensor(const std::string& file, const std::string& name) const {
    return load_safetensors(path(file)).at(name);
  }

  TestFolder folder_;
};

TEST_F(DeviceOfPrograms, AnotherTextIsAUsageError) {
  for (const std::string text : {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda1", "CPU"}) {
    const Outcome outcome = sample(text, "out");
    EXPECT_EQ(outcome.code, 2) << text;
    EXPECT_THAT(outcome.errors, HasSubstr("expected cpu, cuda, cuda:N or auto, got '" + text + "'"));
  }
}

TEST_F(DeviceOfPrograms, Tf32IsNotForTheCpu) {
  const Outcome outcome = sample("cpu", "out", {"--tf32"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("--tf32: needs a CUDA device, --device is cpu"));
}

TEST_F(DeviceOfPrograms, F16IsNotForTheCpu) {
  const Outcome outcome = sample("cpu", "out", {"--precision", "f16"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("--precision: f16 needs a CUDA device (--device cuda)"));
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(DeviceOfPrograms, WithoutADeviceTheReasonIsSaidAndNothingIsMade) {
  if (cuda_available()) GTEST_SKIP() << "there is a device";
  const auto reason =
      AnyOf(HasSubstr("no CUDA driver"), HasSubstr("no CUDA device"), HasSubstr("built without CUDA"));
  for (const std::string device : {"cuda", "cuda:1"}) {
    const Outcome outcome = sample(device, "out");
    EXPECT_EQ(outcome.code, 3);
    EXPECT_THAT(outcome.errors, HasSubstr("tw-sample: --device " + device + ": "));
    EXPECT_THAT(outcome.errors, reason);
    EXPECT_FALSE(fs::exists(path("out")));
  }
  EXPECT_EQ(run_program(folder_, "tw-train", {"--device", "cuda", "--out", path("run")}).code, 3);
  EXPECT_FALSE(fs::exists(path("run")));
  for (const std::string program : {"tw-bench", "tw-inspect", "tw-eval"}) {
    std::vector<std::string> arguments{"--device", "cuda"};
    if (program == "tw-inspect") arguments.push_back(path("model"));
    if (program == "tw-eval")
      arguments.insert(arguments.end(), {"--model", path("model"), "--in", "x", "--out", "y"});
    const Outcome outcome = run_program(folder_, program, arguments);
    EXPECT_EQ(outcome.code, 3) << program;
    EXPECT_THAT(outcome.errors, reason);
  }
  const Outcome automatic = sample("auto", "out");
  EXPECT_EQ(automatic.code, 0) << automatic.errors;
  EXPECT_THAT(automatic.errors, HasSubstr("device: cpu ("));
  EXPECT_THAT(automatic.errors, reason);
}

class CudaPrograms : public DeviceOfPrograms {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
    DeviceOfPrograms::SetUp();
  }
};

TEST_F(CudaPrograms, Tf32IsNotedInThePicture) {
  EXPECT_EQ(sample("cuda", "plain").code, 0);
  const Outcome outcome = sample("cuda", "rounded", {"--tf32"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const double difference =
      max_error(tensor("rounded.safetensors", "samples"), tensor("plain.safetensors", "samples"));
  EXPECT_GT(difference, 1e-6);
  EXPECT_LT(difference, 0.05);
  EXPECT_THAT(text_of(folder_ / "rounded/000001.png"), HasSubstr("cuda tf32"));
}

TEST_F(CudaPrograms, ADeviceThatIsNotThereIsNamed) {
  const Outcome outcome = sample("cuda:99", "out");
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.errors, HasSubstr("no CUDA device 99 on this machine, which has"));
}

// On machines that the emulated device can be told to be.
TEST_F(CudaPrograms, WhatIsWrongWithAMachineIsSaid) {
  const char* library = std::getenv("TW_CUDA_LIBRARY");
  if (!library || !std::strstr(library, "emulated")) GTEST_SKIP() << "needs the emulated device";
  const std::map<std::string, std::string> said{
      {"no-driver", "--device cuda: no CUDA driver on this machine\n"},
      {"old-driver", "--device cuda: the CUDA driver of this machine is for CUDA 12.4, this build needs "},
      {"old-device", "--device cuda: CUDA device 0 has compute capability 7.5, this build has code for "}};
  for (const auto& [fault, text] : said) {
    ::setenv("TW_EMULATED_FAULT", fault.c_str(), 1);
    const Outcome outcome = sample("cuda", "out"), automatic = sample("auto", fault);
    ::unsetenv("TW_EMULATED_FAULT");
    EXPECT_EQ(outcome.code, 3) << fault;
    EXPECT_THAT(outcome.errors, HasSubstr(text));
    EXPECT_FALSE(fs::exists(path("out")));
    EXPECT_EQ(automatic.code, 0) << automatic.errors;
    EXPECT_THAT(automatic.errors, HasSubstr("device: cpu ("));
  }
}

TEST_F(CudaPrograms, SampleDrawsWhatTheCpuDraws) {
  ASSERT_EQ(sample("cpu", "host").code, 0);
  const Outcome outcome = sample("auto", "device");
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.errors, HasSubstr("device: cuda:0"));
  EXPECT_LE(max_error(tensor("device.safetensors", "samples"), tensor("host.safetensors", "samples")), 1e-4);
  // Its own kind is drawn again bit for bit; the other kind is noted.
  const std::string image = path("device") + "/000001.png";
  const Outcome again = run_program(folder_, "tw-sample", {"--reproduce", image, "--device", "cuda"});
  EXPECT_EQ(again.code, 0) << again.output << again.errors;
  EXPECT_THAT(run_program(folder_, "tw-sample", {"--reproduce", image}).errors,
              HasSubstr("drawn with cuda arithmetic"));
}

TEST_F(CudaPrograms, EvalInspectAndBenchRunOnIt) {
  save_safetensors(path("in.safetensors"),
                   {{"x", random_tensor({2, 3, 8, 8})}, {"t", Tensor::from(std::vector<float>{7, 900})}});
  for (const std::string device : {"cpu", "cuda"}) {
    const Outcome outcome = run_program(folder_, "tw-eval",
                                        {"--model", path("model"), "--in", path("in.safetensors"), "--out",
                                         path(device + ".safetensors"), "--device", device});
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
  }
  EXPECT_LE(max_error(tensor("cuda.safetensors", "y"), tensor("cpu.safetensors", "y")), 1e-4);

  const Outcome plan =
      run_program(folder_, "tw-inspect", {path("model"), "--plan", "--tape", "guided", "--device", "cuda"});
  EXPECT_EQ(plan.code, 0) << plan.errors;
  EXPECT_THAT(plan.output, HasSubstr("lower bound"));

  const Outcome bench = run_program(folder_, "tw-bench",
                                    {"--model", path("model"), "--batch", "1", "--repeat", "1", "--device",
                                     "cuda", "--json", path("bench.json")});
  EXPECT_EQ(bench.code, 0) << bench.errors;
  EXPECT_THAT(text_of(path("bench.json")), HasSubstr("\"peak_device_bytes\""));
  EXPECT_EQ(run_program(folder_, "tw-bench", {"machine", "--device", "cuda"}).code, 2);
}

TEST_F(CudaPrograms, TrainingContinuesBitForBitAndAgreesWithTheCpu) {
  std::vector<uint8_t> pixels;
  for (const double value : random_tensor({9, 8, 8, 3}).to_vector())
    pixels.push_back(static_cast<uint8_t>(127 * (value + 1)));
  save_npy(path("data.npy"), Tensor::from(pixels, {9, 8, 8, 3}));
  const auto train = [&](const std::string& device, const std::string& out, const std::string& steps,
                         std::vector<std::string> more = {}) {
    std::vector<std::string> all{"--data",
                                 "npy:" + path("data.npy"),
                                 "--model",
                                 path("model") + "/config.json",
                                 "--batch",
                                 "2",
                                 "--resolution",
                                 "8",
                                 "--sample-every",
                                 "2",
                                 "--sample-steps",
                                 "1",
                                 "--sample-count",
                                 "1",
                                 "--quiet",
                                 "--steps",
                                 steps,
                                 "--device",
                                 device,
                                 "--out",
                                 path(out)};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(folder_, "tw-train", all);
  };
  const Outcome whole = train("cuda", "whole", "4");
  ASSERT_EQ(whole.code, 0) << whole.errors;
  ASSERT_EQ(train("cuda", "parts", "2").code, 0);
  ASSERT_EQ(train("cuda", "parts", "4", {"--resume", "latest"}).code, 0);
  ASSERT_EQ(train("cpu", "host", "4").code, 0);
  const std::string weights = "/checkpoints/step-00000004/weights.safetensors";
  EXPECT_EQ(text_of(path("parts" + weights)), text_of(path("whole" + weights)));

  ASSERT_EQ(train("cuda", "whole16", "4", {"--precision", "f16"}).code, 0);
  ASSERT_EQ(train("cuda", "parts16", "2", {"--precision", "f16"}).code, 0);
  ASSERT_EQ(train("cuda", "parts16", "4", {"--precision", "f16", "--resume", "latest"}).code, 0);
  const std::string state = "/checkpoints/step-00000004/state.json";
  EXPECT_THAT(text_of(path("whole16" + state)), HasSubstr("\"good_steps\": 4"));
  for (const std::string& file : {weights, state})
    EXPECT_EQ(text_of(path("parts16" + file)), text_of(path("whole16" + file)));
  EXPECT_THAT(text_of(path("whole16/log.jsonl")), HasSubstr("\"loss_scale\":65536.0"));
  const auto device = load_safetensors(path("whole" + weights)).tensors;
  for (const auto& [name, expected] : load_safetensors(path("host" + weights)).tensors)
    EXPECT_LE(max_error(device.at(name), expected), 1e-4) << name;
}

}  // namespace
}  // namespace tw
