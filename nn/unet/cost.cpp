#include "nn/unet/cost.h"

#include <algorithm>
#include <vector>

namespace tw {
namespace {

struct Counter {
  const UNetConfig& config;
  UNetCost cost;

  void conv(int64_t in, int64_t out, int64_t kernel, int64_t pixels) {
    cost.parameters += kernel * kernel * in * out + out;
    cost.multiply_adds += kernel * kernel * in * out * pixels;
  }
  void linear_of_time(int64_t in, int64_t out) { cost.parameters += in * out + out; }
  void norm(int64_t channels) { cost.parameters += 2 * channels; }

  // `pixels` of the output.
  void block(int64_t in, int64_t out, int64_t pixels) {
    norm(in);
    conv(in, out, 3, pixels);
    linear_of_time(4 * config.base, config.scale_shift_norm ? 2 * out : out);
    norm(out);
    conv(out, out, 3, pixels);
    if (in != out) conv(in, out, 1, pixels);
  }
  void resample(int64_t channels, int64_t pixels) {
    if (config.residual_resample)
      block(channels, channels, pixels);
    else
      conv(channels, channels, 3, pixels);
  }
  void attention(int64_t channels, int64_t pixels) {
    norm(channels);
    conv(channels, 4 * channels, 1, pixels);  // q, k, v and the output
    cost.multiply_adds += 2 * channels * pixels * pixels;
  }
};

}  // namespace

UNetCost unet_cost(const UNetConfig& config) {
  config.validate();
  Counter count{config, {}};
  const auto levels = static_cast<int64_t>(config.multipliers.size());
  const auto channels_of = [&](int64_t level) {
    return config.base * config.multipliers[static_cast<size_t>(level)];
  };
  const auto size_of = [&](int64_t level) { return config.resolution >> level; };
  const auto pixels_of = [&](int64_t level) { return size_of(level) * size_of(level); };
  const auto attends = [&](int64_t level) {
    const auto& at = config.attention_resolutions;
    return std::find(at.begin(), at.end(), size_of(level)) != at.end();
  };

  count.linear_of_time(config.base, 4 * config.base);
  count.linear_of_time(4 * config.base, 4 * config.base);
  if (config.classes > 0) count.cost.parameters += (config.classes + 1) * 4 * config.base;
  count.conv(config.in_channels, config.base, 3, pixels_of(0));

  std::vector<int64_t> skips{config.base};
  int64_t channels = config.base;
  for (int64_t level = 0; level < levels; ++level) {
    for (int64_t i = 0; i < config.blocks; ++i) {
      count.block(channels, channels_of(level), pixels_of(level));
      channels = channels_of(level);
      if (attends(level)) count.attention(channels, pixels_of(level));
      skips.push_back(channels);
    }
    if (level + 1 == levels) continue;
    count.resample(channels, pixels_of(level + 1));
    skips.push_back(channels);
  }
  count.block(channels, channels, pixels_of(levels - 1));
  if (config.middle_attention) count.attention(channels, pixels_of(levels - 1));
  count.block(channels, channels, pixels_of(levels - 1));
  for (int64_t level = levels - 1; level >= 0; --level) {
    for (int64_t i = 0; i <= config.blocks; ++i) {
      count.block(channels + skips.back(), channels_of(level), pixels_of(level));
      skips.pop_back();
      channels = channels_of(level);
      if (attends(level)) count.attention(channels, pixels_of(level));
    }
    if (level > 0) count.resample(channels, pixels_of(level - 1));
  }
  count.norm(channels);
  count.conv(channels, config.out_channels, 3, pixels_of(0));
  return count.cost;
}

}  // namespace tw
