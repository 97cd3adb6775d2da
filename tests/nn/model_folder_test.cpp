#include "nn/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "nn/unet/config_json.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/safetensors.h"
#include "tests/random_tensor.h"
#include "tests/temporary_folder.h"

namespace tw {
namespace {

using testing::HasSubstr;

UNetConfig small_config() {
  UNetConfig config = unet_preset("tiny");
  config.resolution = 8;
  config.attention_resolutions = {4};
  return config;
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    return error.what();
  }
  return "nothing was thrown";
}

class ModelFolderTest : public testing::Test {
 protected:
  std::string path(const std::string& name = "") const { return folder_.path(name); }
  void change_weights(const std::function<void(std::map<std::string, Tensor>&)>& change) {
    auto tensors = load_safetensors(path("weights.safetensors")).tensors;
    change(tensors);
    save_safetensors(path("weights.safetensors"), tensors);
  }
  std::string load_message() {
    return message_of([&] { load_model_folder(path()); });
  }

  TemporaryFolder folder_;
};

TEST(UNetConfigJson, GoesThereAndBackForEveryPreset) {
  for (const std::string& name : unet_presets()) {
    UNetConfig config = unet_preset(name);
    config.eps = 1.25e-5;
    config.dropout = 0.3;
    config.flip_sin_to_cos = true;
    EXPECT_EQ(unet_config_from_json(to_json(config), "here"), config) << name;
  }
}

TEST(UNetConfigJson, ErrorsNameTheFileAndTheField) {
  const auto message = [](const char* text) {
    return message_of([&] { unet_config_from_json(text, "there.json"); });
  };
  EXPECT_THAT(message("{"), HasSubstr("there.json"));
  EXPECT_THAT(message("[1]"), HasSubstr("object"));
  EXPECT_THAT(message(R"({"base": "wide"})"), HasSubstr("'base'"));
  EXPECT_THAT(message(R"({"bass": 3})"), HasSubstr("'bass'"));
  EXPECT_THAT(message(R"({"groups": 7})"), HasSubstr("7 groups"));
}

TEST_F(ModelFolderTest, SavedAndLoadedItComputesTheSame) {
  const UNet net(small_config(), 5);
  save_model_folder(path(), net, R"({"data": {"channels": 3}})");
  const ModelFolder model = load_model_folder(path());
  EXPECT_EQ(model.network->config(), net.config());
  EXPECT_THAT(model.config, HasSubstr("\"channels\": 3"));
  const auto loaded = model.network->parameters(), saved = net.parameters();
  ASSERT_EQ(loaded.size(), saved.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    EXPECT_EQ(loaded[i].name, saved[i].name);
    EXPECT_EQ(loaded[i].value.value().to_vector(), saved[i].value.value().to_vector()) << saved[i].name;
  }
}

TEST_F(ModelFolderTest, HalfWeightsAreReadAsF32OrKept) {
  const UNet net(small_config(), 5);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    save_model_folder(path(), net, "{}", dtype);
    const Tensor saved = net.parameters()[0].value.value().to(dtype);
    const ModelFolder model = load_model_folder(path());
    EXPECT_EQ(model.network->parameters()[0].value.dtype(), DType::f32);
    EXPECT_EQ(model.network->parameters()[0].value.value().to_vector(), saved.to_vector());
  }
  EXPECT_EQ(load_model_folder(path(), DType::bf16).network->parameters()[0].value.dtype(), DType::bf16);
  EXPECT_THROW(save_model_folder(path(), net, "{}", DType::i32), Error);
}

TEST_F(ModelFolderTest, WhatDoesNotFitIsNamedWithBothShapes) {
  save_model_folder(path(), UNet(small_config(), 5));
  change_weights([](auto& tensors) { tensors["conv_in.weight"] = Tensor::zeros({3, 3, 3, 8}); });
  EXPECT_THAT(load_message(), AllOf(HasSubstr("weights.safetensors"), HasSubstr("'conv_in.weight'"),
                                    HasSubstr("(3, 3, 3, 8)"), HasSubstr("(3, 3, 3, 16)")));
  save_model_folder(path(), UNet(small_config(), 5));
  change_weights([](auto& tensors) { tensors.erase("conv_out.bias"); });
  EXPECT_THAT(load_message(), AllOf(HasSubstr("'conv_out.bias' is missing"), HasSubstr("(3,)")));
  save_model_folder(path(), UNet(small_config(), 5));
  change_weights([](auto& tensors) { tensors["surplus"] = Tensor::zeros({2}); });
  EXPECT_THAT(load_message(), HasSubstr("'surplus' (2,)"));
}

TEST_F(ModelFolderTest, ABrokenConfigIsAnErrorOfTheFile) {
  EXPECT_THAT(load_message(), HasSubstr("config.json: cannot be read"));
  save_model_folder(path(), UNet(small_config(), 5));
  for (const char* text : {"", "{", "[]", "{}", R"({"network": {"base": -2}})", R"({"format": "other-9"})",
                           R"({"network": {"multipliers": [1, 1000000000000000000]}})"}) {
    write_file_atomically(path("config.json"), text);
    EXPECT_THAT(load_message(), HasSubstr("config.json")) << text;
  }
}

}  // namespace
}  // namespace tw
