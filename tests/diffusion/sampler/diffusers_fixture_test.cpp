// A small diffusers model with random weights, sampled by diffusers and by us from the same noise.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "kernels/cpu/exact.h"
#include "nn/unet/unet.h"
#include "tensor/io/safetensors.h"
#include "tests/random_tensor.h"
#include "tests/shared_folder.h"

namespace tw {
namespace {

std::filesystem::path fixture() { return shared_folder("fixtures/diffusers_ddpm_modern"); }

class DiffusersFixture : public testing::Test {
 protected:
  // A network of random weights amplifies rounding: the goldens have the bounds of direct convolution.
  void SetUp() override {
    kernels::set_exact(true);
    if (!std::filesystem::exists(fixture() / "expected.safetensors"))
      GTEST_SKIP() << "no fixture in " << fixture();
    expected_ = load_safetensors(fixture() / "expected.safetensors").tensors;
    load_weights();
  }

  void TearDown() override { kernels::set_exact(exact_before_); }

  // Weights (out, in, kh, kw) and (out, in) become (kh, kw, in, out) and (in, out); q, k and v become one.
  void load_weights() {
    const auto file = load_safetensors(fixture() / "unet" / "diffusion_pytorch_model.safetensors").tensors;
    const auto converted = [&](const std::string& name) {
      const Tensor& t = file.at(name);
      return t.rank() == 4 ? t.permute({2, 3, 1, 0}) : t.rank() == 2 ? t.permute({1, 0}) : t;
    };
    for (Parameter& p : net_.parameters()) {
      Tensor& value = p.value.mutable_value();
      if (const size_t at = p.name.find("to_qkv"); at != std::string::npos) {
        int64_t begin = 0;
        for (const char* part : {"to_q", "to_k", "to_v"}) {
          const Tensor t = converted(p.name.substr(0, at) + part + p.name.substr(at + 6));
          value.slice(-1, begin, begin + t.dim(-1)).copy_from(t);
          begin += t.dim(-1);
        }
      } else {
        std::string name = p.name;
        if (const size_t out = name.find("to_out."); out != std::string::npos) name.insert(out + 7, "0.");
        value.copy_from(converted(name));
      }
    }
    net_.freeze();
  }

  Denoiser network(const SamplerTable& table) {
    return [this, timesteps = table.timesteps()](const Var& x, int64_t step) {
      const double t = static_cast<double>(timesteps[static_cast<size_t>(step)]);
      return net_.forward(x, Tensor::full({x.dim(0)}, t));
    };
  }

  // Absolute tolerance, or a fraction of the largest value expected.
  void expect_samples(const std::string& key, const SamplerTable& table, double tolerance,
                      bool of_the_largest = false) {
    InjectedNoise noise(expected_.at("x_T"), expected_.at("noise"));
    expect_close(key, channels_first(sample(network(table), table, noise.start(), noise)), tolerance,
                 of_the_largest);
  }

  void expect_close(const std::string& key, const Tensor& found, double tolerance,
                    bool of_the_largest = false) {
    const std::vector<double> expected = expected_.at(key).to_vector(), values = found.to_vector();
    ASSERT_EQ(values.size(), expected.size());
    double error = 0, largest = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      error = std::max(error, std::abs(values[i] - expected[i]));
      largest = std::max(largest, std::abs(expected[i]));
    }
    EXPECT_LE(error, of_the_largest ? tolerance * largest : tolerance)
        << key << ", largest value " << largest;
    RecordProperty(key, std::to_string(error));
  }

  UNet net_{UNetConfig{.resolution = 16,
                       .base = 16,
                       .multipliers = {1, 2},
                       .blocks = 1,
                       .attention_resolutions = {8},
                       .head_channels = 8,
                       .groups = 8,
                       .eps = 1e-5,
                       .asymmetric_downsample = false,
                       .frequency_shift = 0,
                       .flip_sin_to_cos = true}};
  const bool exact_before_ = kernels::exact();
  std::map<std::string, Tensor> expected_;
  const std::vector<int64_t> leading_ = sampling_timesteps(Spacing::leading, 10, 1000);
};

TEST_F(DiffusersFixture, TheNetworkAlone) {
  const NoGrad no_grad;
  const Tensor x = channels_last(expected_.at("x_T"));
  for (int t : {0, 17, 500, 999})
    expect_close("unet_t" + std::to_string(t),
                 channels_first(net_.forward(x, Tensor::full({x.dim(0)}, t)).value()), 1e-5);
}

TEST_F(DiffusersFixture, Ddpm) {
  expect_samples("ddpm_10", ddpm_table(Schedule(), {.timesteps = leading_}), 2e-5);
  expect_samples("ddpm_10_noclip", ddpm_table(Schedule(), {.timesteps = leading_, .range = {.clip = false}}),
                 3e-6, true);
}

TEST_F(DiffusersFixture, Ddim) {
  // Clipped without noise: rounding is multiplied by 158 before the first clip, as the fixture's notes say.
  expect_samples("ddim_10_eta0", ddim_table(Schedule(), {.timesteps = leading_}), 1e-3);
  expect_samples("ddim_10_eta0_noclip",
                 ddim_table(Schedule(), {.timesteps = leading_, .range = {.clip = false}}), 3e-6, true);
  expect_samples("ddim_10_eta1", ddim_table(Schedule(), {.timesteps = leading_, .eta = 1}), 2e-5);
}

}  // namespace
}  // namespace tw
