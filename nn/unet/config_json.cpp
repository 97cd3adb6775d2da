#include "nn/unet/config_json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "tensor/error.h"

namespace tw {
namespace {

using Json = nlohmann::ordered_json;

// One list of names, so that reading and writing cannot disagree. f(name, field).
template <class Config, class F>
void for_each_field(Config& c, F&& f) {
  f("in_channels", c.in_channels);
  f("out_channels", c.out_channels);
  f("resolution", c.resolution);
  f("base", c.base);
  f("multipliers", c.multipliers);
  f("blocks", c.blocks);
  f("attention_resolutions", c.attention_resolutions);
  f("middle_attention", c.middle_attention);
  f("head_channels", c.head_channels);
  f("dropout", c.dropout);
  f("classes", c.classes);
  f("groups", c.groups);
  f("eps", c.eps);
  f("asymmetric_downsample", c.asymmetric_downsample);
  f("scale_shift_norm", c.scale_shift_norm);
  f("residual_resample", c.residual_resample);
  f("frequency_shift", c.frequency_shift);
  f("flip_sin_to_cos", c.flip_sin_to_cos);
}

template <class T>
void read(const Json& json, const char* name, T& field, const std::string& where) {
  if (!json.contains(name)) return;
  try {
    json.at(name).get_to(field);
  } catch (const Json::exception&) {
    fail_data(where, "'", name, "' is ", json.at(name).dump(), ", which is not of its type");
  }
}

// Runs f(parsed object) and returns a validated config; every error names `where`.
template <class F>
UNetConfig parse(const std::string& text, const std::string& where, F&& f) {
  UNetConfig config;
  try {
    const Json json = Json::parse(text);
    if (!json.is_object()) fail_data(where, "expected a JSON object, found ", json.type_name());
    f(json, config);
    config.validate();
  } catch (const Json::exception& error) {
    fail_data(where, error.what());
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::data) throw;
    fail_data(where, error.what());
  }
  return config;
}

}  // namespace

std::string to_json(const UNetConfig& config) {
  Json json = Json::object();
  for_each_field(config, [&](const char* name, const auto& field) { json[name] = field; });
  return json.dump(2);
}

UNetConfig unet_config_from_json(const std::string& text, const std::string& where) {
  return parse(text, where, [&](const Json& json, UNetConfig& config) {
    Json known = Json::object();
    for_each_field(config, [&](const char* name, auto& field) {
      known[name] = true;
      read(json, name, field, where);
    });
    for (const auto& [name, value] : json.items())
      if (!known.contains(name)) fail_data(where, "unknown field '", name, "'");
  });
}

UNetConfig unet_config_from_diffusers(const std::string& text, const std::string& where) {
  // Defaults below are those of UNet2DModel, where they differ from ours.
  return parse(text, where, [&](const Json& json, UNetConfig& config) {
    const auto expect = [&](const char* name, const Json& wanted) {
      if (json.contains(name) && json[name] != wanted)
        fail_data(where, "'", name, "' is ", json[name].dump(), ", but only ", wanted.dump(),
                  " is supported");
    };
    expect("act_fn", "silu");
    expect("center_input_sample", false);
    expect("mid_block_type", "UNetMidBlock2D");
    expect("mid_block_scale_factor", 1);
    expect("time_embedding_type", "positional");
    expect("time_embedding_dim", nullptr);
    expect("class_embed_type", nullptr);

    read(json, "in_channels", config.in_channels, where);
    read(json, "out_channels", config.out_channels, where);
    read(json, "sample_size", config.resolution, where);
    read(json, "layers_per_block", config.blocks, where);
    read(json, "dropout", config.dropout, where);
    read(json, "norm_num_groups", config.groups, where);
    const Json attention_groups = json.value("attn_norm_num_groups", Json());
    if (!attention_groups.is_null()) expect("attn_norm_num_groups", config.groups);
    config.eps = json.value("norm_eps", 1e-5);
    // One of two values, of which the second says yes.
    const auto choice = [&](const char* name, const char* no, const char* yes) {
      const std::string value = json.value(name, no);
      if (value != no && value != yes)
        fail_data(where, "'", name, "' is \"", value, "\", but only \"", no, "\" and \"", yes,
                  "\" are supported");
      return value == yes;
    };
    config.scale_shift_norm = choice("resnet_time_scale_shift", "default", "scale_shift");
    config.residual_resample = choice("downsample_type", "conv", "resnet");
    if (choice("upsample_type", "conv", "resnet") != config.residual_resample)
      fail_data(where, "'upsample_type' is not that of 'downsample_type'");
    config.flip_sin_to_cos = json.value("flip_sin_to_cos", true);
    config.frequency_shift = json.value("freq_shift", 0.0);
    config.asymmetric_downsample = json.value("downsample_padding", 1) == 0;
    config.middle_attention = json.value("add_attention", true);
    const Json head = json.value("attention_head_dim", Json(8));
    config.head_channels = head.is_null() ? 0 : head.get<int64_t>();
    const Json labels = json.value("num_class_embeds", Json());
    if (!labels.is_null()) config.classes = labels.get<int64_t>() - 1;  // the last one means "no class"

    const auto widths = json.value("block_out_channels", std::vector<int64_t>{224, 448, 672, 896});
    if (widths.empty() || widths[0] <= 0) fail_data(where, "'block_out_channels' is empty or not positive");
    config.base = widths[0];
    config.multipliers.clear();
    for (const int64_t width : widths) {
      if (width % config.base != 0)
        fail_data(where, "'block_out_channels' has ", width, ", which is no multiple of the first, ",
                  widths[0]);
      config.multipliers.push_back(width / config.base);
    }
    const auto down = json.at("down_block_types").get<std::vector<std::string>>();
    auto up = json.at("up_block_types").get<std::vector<std::string>>();
    if (down.size() != widths.size() || up.size() != widths.size())
      fail_data(where, "there are ", widths.size(), " widths, ", down.size(), " down blocks and ", up.size(),
                " up blocks");
    config.attention_resolutions.clear();
    const bool residual = config.residual_resample;
    const std::string plain_down = residual ? "ResnetDownsampleBlock2D" : "DownBlock2D",
                      plain_up = residual ? "ResnetUpsampleBlock2D" : "UpBlock2D";
    for (size_t level = 0; level < down.size(); ++level) {
      const std::string& mirrored = up[up.size() - 1 - level];
      const bool attends = down[level] == "AttnDownBlock2D";
      if ((!attends && down[level] != plain_down) || mirrored != (attends ? "AttnUpBlock2D" : plain_up))
        fail_data(where, "level ", level, " goes down by ", down[level], " and up by ", mirrored,
                  "; supported are ", plain_down, " with ", plain_up,
                  " and AttnDownBlock2D with AttnUpBlock2D");
      if (attends) config.attention_resolutions.push_back(config.resolution >> level);
    }
  });
}

}  // namespace tw
