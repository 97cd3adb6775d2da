// The ADM form of the U-Net against PyTorch: tests/reference/make_adm_unet_golden.py.
#include <gtest/gtest.h>

#include "nn/unet/config_json.h"
#include "nn/unet/cost.h"
#include "nn/unet/unet.h"
#include "tensor/io/safetensors.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

class AdmUNetGolden : public testing::Test {
 protected:
  AdmUNetGolden() : net_(config()) {
    for (Parameter& p : net_.parameters())
      p.value.mutable_value() = golden_.at("init/" + p.name).to(DType::f32).clone();
  }

  static UNetConfig config() {
    UNetConfig config = unet_preset("adm-ffhq-256");
    config.resolution = 8;
    config.base = 32;
    config.multipliers = {1, 1};
    config.attention_resolutions = {4};
    config.head_channels = 16;
    return config;
  }

  // The output and the gradient of sum(v y) to x.
  std::pair<Tensor, Tensor> evaluate(DType dtype = DType::f32) {
    const Var x = Var::leaf(golden_.at("x").to(dtype));
    const Var y = net_.forward(x, golden_.at("t"));
    const Tensor dx = grad({y}, {x}, {golden_.at("v").to(dtype)})[0];
    return {y.value(), dx};
  }

  const SafeTensors golden_ = load_safetensors(TW_SOURCE_DIR "/tests/golden/adm_unet.safetensors");
  UNet net_;
};

double relative_error(const Tensor& a, const Tensor& b) {
  return max_error(a, b) / max_error(b, Tensor::zeros(b.shape(), b.dtype()));
}

TEST_F(AdmUNetGolden, TheFileHoldsEveryParameterAndNoOther) {
  size_t count = 0;
  for (const auto& [name, tensor] : golden_.tensors) count += name.starts_with("init/");
  EXPECT_EQ(count, net_.parameters().size());
}

TEST_F(AdmUNetGolden, ForwardAndGradientToTheImage) {
  net_.freeze();
  const auto [y, dx] = evaluate();
  EXPECT_LE(relative_error(y, golden_.at("y")), 1e-5);
  EXPECT_LE(relative_error(dx, golden_.at("grad_x")), 1e-5);
}

TEST_F(AdmUNetGolden, GradientsOfParameters) {
  const Var y = net_.forward(golden_.at("x"), golden_.at("t"));
  backward(y, golden_.at("v"));
  int compared = 0;
  for (const Parameter& p : net_.parameters()) {
    if (!golden_.tensors.contains("grad/" + p.name)) continue;
    EXPECT_LE(relative_error(p.value.grad(), golden_.at("grad/" + p.name)), 2e-5) << p.name;
    ++compared;
  }
  EXPECT_GE(compared, 12);
}

TEST_F(AdmUNetGolden, InF64) {
  net_.to(DType::f64);
  const auto [y, dx] = evaluate(DType::f64);
  EXPECT_LE(relative_error(y.to(DType::f32), golden_.at("y")), 1e-6);
  EXPECT_LE(relative_error(dx.to(DType::f32), golden_.at("grad_x")), 1e-6);
}

TEST_F(AdmUNetGolden, InBf16) {
  net_.set_activation_dtype(DType::bf16);
  EXPECT_LE(relative_error(evaluate().first, golden_.at("y")), 3e-2);
}

TEST_F(AdmUNetGolden, RecomputingTheBlocksAndATimeTableChangeNoBit) {
  const auto [y, dx] = evaluate();
  net_.set_recompute(true);
  const auto [y_again, dx_again] = evaluate();
  EXPECT_EQ(y.to_vector(), y_again.to_vector());
  EXPECT_EQ(dx.to_vector(), dx_again.to_vector());
  const NoGrad no_grad;
  const TimeTable table = net_.time_table({17, 803});
  for (int64_t i = 0; i < 2; ++i)
    EXPECT_EQ(net_.forward(golden_.at("x").slice(0, i, i + 1), table, i).value().to_vector(),
              y.slice(0, i, i + 1).to_vector());
}

TEST(AdmUNet, ThePresetHasTheParametersOfThePublishedNetwork) {
  EXPECT_EQ(UNet(unet_preset("adm-ffhq-256"), std::nullopt).parameter_count(), 93563910);
  EXPECT_NEAR(1e-9 * static_cast<double>(unet_cost(unet_preset("adm-ffhq-256")).multiply_adds), 194, 1);
}

TEST(AdmUNet, TheConfigOfDiffusersAndOurOwnSayTheSame) {
  const UNetConfig config = unet_config_from_diffusers(R"({"sample_size": 256, "out_channels": 6,
      "layers_per_block": 1, "block_out_channels": [128, 128, 256, 256, 512, 512], "attention_head_dim": 64,
      "resnet_time_scale_shift": "scale_shift", "downsample_type": "resnet", "upsample_type": "resnet",
      "down_block_types": ["ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D",
                           "ResnetDownsampleBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"],
      "up_block_types": ["ResnetUpsampleBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D",
                         "ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"]})",
                                                       "here");
  UNetConfig expected = unet_preset("adm-ffhq-256");
  expected.asymmetric_downsample = false;  // nothing is downsampled by a convolution
  EXPECT_EQ(config, expected);
  EXPECT_EQ(unet_config_from_json(to_json(expected), "here"), expected);
}

}  // namespace
}  // namespace tw
