#include "nn/unet/diffusers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "nn/unet/config_json.h"
#include "tensor/io/safetensors.h"
#include "tests/random_tensor.h"
#include "tests/shared_folder.h"

namespace tw {
namespace {

using testing::HasSubstr;

void load(UNet& net, const std::map<std::string, Tensor>& tensors, const std::string& where) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  load_diffusers_parameters(
      net, names, [&](const std::string& name) { return tensors.at(name); }, where);
}

UNetConfig small_config() {
  UNetConfig config = unet_preset("tiny");
  config.resolution = 8;
  config.attention_resolutions = {4};
  config.classes = 2;
  return config;
}

TEST(DiffusersNames, TheCifar10ModelHasTheTensorsOfTheReference) {
  const UNet net(unet_preset("ddpm-cifar10"), std::nullopt);
  const auto tensors = diffusers_tensors(net);
  EXPECT_EQ(tensors.size(), 328u);
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  EXPECT_EQ(count, 35746307);
  EXPECT_EQ(tensors.at("down_blocks.1.attentions.0.to_out.0.weight").shape(), Shape({256, 256}));
  EXPECT_EQ(tensors.at("up_blocks.3.resnets.2.conv_shortcut.weight").shape(), Shape({128, 256, 1, 1}));
}

TEST(DiffusersNames, ThereAndBackIsTheSame) {
  const UNet net(small_config(), 5);
  UNet copy(small_config(), 6);
  load(copy, diffusers_tensors(net), "here");
  const auto a = net.parameters(), b = copy.parameters();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(a[i].value.value().to_vector(), b[i].value.value().to_vector()) << a[i].name;
}

TEST(DiffusersNames, NamesOf2022AreUnderstood) {
  const UNet net(small_config(), 5);
  std::map<std::string, Tensor> old;
  for (const auto& [name, tensor] : diffusers_tensors(net)) {
    std::string renamed = name;
    for (const auto& [to, from] : std::map<std::string, std::string>{
             {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}})
      if (const size_t at = renamed.find("." + to + "."); at != std::string::npos)
        renamed.replace(at + 1, to.size(), from);
    old[renamed] = tensor;
  }
  ASSERT_TRUE(old.contains("mid_block.attentions.0.query.weight"));
  UNet copy(small_config(), 6);
  load(copy, old, "here");
  EXPECT_EQ(copy.parameters()[20].value.value().to_vector(), net.parameters()[20].value.value().to_vector());
}

TEST(DiffusersNames, WhatDoesNotFitIsNamed) {
  UNet net(small_config(), 5);
  auto tensors = diffusers_tensors(net);
  tensors.erase("mid_block.attentions.0.to_k.weight");
  try {
    load(net, tensors, "there");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("there"), HasSubstr("mid_block.attentions.0.to_k.weight"),
                                    HasSubstr("(32, 32)")));
  }
}

TEST(DiffusersConfig, WhatIsNotSupportedIsNamed) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      unet_config_from_diffusers(text, "there");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message(R"({"time_embedding_type": "fourier"})"),
              HasSubstr("'time_embedding_type' is \"fourier\""));
  EXPECT_THAT(
      message(
          R"({"block_out_channels": [16], "down_block_types": ["SkipDownBlock2D"], "up_block_types": ["SkipUpBlock2D"]})"),
      HasSubstr("SkipDownBlock2D"));
  EXPECT_THAT(message(R"({"block_out_channels": [16, 24]})"), HasSubstr("24"));
}

TEST(DiffusersFolder, AModelOfTheReferenceComputesWhatItDidThere) {
  const std::filesystem::path folder = shared_folder("fixtures/diffusers_ddpm_modern");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  const auto net = load_diffusers_unet(folder.string());
  const SafeTensors expected = load_safetensors((folder / "expected.safetensors").string());
  const Tensor x = expected.at("x_T").permute({0, 2, 3, 1}).contiguous();
  const NoGrad no_grad;
  for (const int t : {0, 17, 500, 999}) {
    const Tensor y = net->forward(x, Tensor::full({x.dim(0)}, t)).value();
    EXPECT_LE(max_error(y.permute({0, 3, 1, 2}), expected.at("unet_t" + std::to_string(t))), 1e-5)
        << "t = " << t;
  }
}

}  // namespace
}  // namespace tw
