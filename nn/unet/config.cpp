#include "nn/unet/config.h"

#include <algorithm>
#include <functional>
#include <map>

#include "tensor/error.h"

namespace tw {
namespace {

const std::map<std::string, std::function<UNetConfig()>>& presets() {
  static const std::map<std::string, std::function<UNetConfig()>> all{
      {"ddpm-cifar10", [] { return UNetConfig{}; }},
      {"adm-ffhq-256",
       [] {
         UNetConfig config;
         config.out_channels = 6;
         config.resolution = 256;
         config.multipliers = {1, 1, 2, 2, 4, 4};
         config.blocks = 1;
         config.head_channels = 64;
         config.eps = 1e-5;
         config.scale_shift_norm = config.residual_resample = true;
         config.frequency_shift = 0;
         config.flip_sin_to_cos = true;
         return config;
       }},
      {"emoji-32",
       [] {
         UNetConfig config;
         config.base = 32;
         config.multipliers = {1, 2, 4};
         config.blocks = 1;
         config.attention_resolutions = {16, 8};
         config.head_channels = 64;
         config.groups = 16;
         config.classes = 9;
         return config;
       }},
      {"mnist-28",
       [] {
         UNetConfig config;
         config.in_channels = config.out_channels = 1;
         config.resolution = 28;
         config.base = 32;
         config.multipliers = {1, 2, 2};
         config.attention_resolutions = {7};
         config.groups = 16;
         config.classes = 10;
         return config;
       }},
      {"tiny",
       [] {
         UNetConfig config;
         config.base = 16;
         config.multipliers = {1, 2};
         config.blocks = 1;
         config.groups = 8;
         return config;
       }},
  };
  return all;
}

}  // namespace

void UNetConfig::validate() const {
  auto expect = [](bool ok, const char* field, const std::string& what) {
    check(ok, "unet config", field, " ", what);
  };
  expect(in_channels > 0, "in_channels", "must be positive");
  expect(out_channels > 0, "out_channels", "must be positive");
  expect(base > 0 && base % 2 == 0, "base", detail::join("must be even and positive, found ", base));
  expect(!multipliers.empty(), "multipliers", "must not be empty");
  expect(blocks > 0, "blocks", "must be positive");
  expect(groups > 0, "groups", "must be positive");
  expect(dropout >= 0 && dropout < 1, "dropout", detail::join("must be in [0, 1), found ", dropout));
  expect(classes >= 0, "classes", "must not be negative");
  auto attends = [&](size_t level) {
    const int64_t size_here = resolution >> level;
    return (middle_attention && level + 1 == multipliers.size()) ||
           std::find(attention_resolutions.begin(), attention_resolutions.end(), size_here) !=
               attention_resolutions.end();
  };
  int64_t size = resolution;
  for (size_t level = 0; level < multipliers.size(); ++level) {
    int64_t channels = 0;
    expect(!__builtin_mul_overflow(base, multipliers[level], &channels), "multipliers",
           detail::join("has ", multipliers[level], ", too large beside a base of ", base));
    expect(channels > 0 && channels % groups == 0, "multipliers",
           detail::join("give ", channels, " channels at level ", level, ", which do not divide into ",
                        groups, " groups"));
    if (head_channels > 0 && attends(level))
      expect(channels % head_channels == 0, "head_channels",
             detail::join(head_channels, " does not divide ", channels, " channels"));
    if (level + 1 < multipliers.size()) {
      expect(size % 2 == 0, "resolution",
             detail::join(resolution, " cannot be halved ", multipliers.size() - 1, " times"));
      size /= 2;
    }
  }
}

UNetConfig unet_preset(const std::string& name) {
  const auto found = presets().find(name);
  if (found != presets().end()) return found->second();
  std::string names;
  for (const std::string& known : unet_presets()) names += (names.empty() ? "" : ", ") + known;
  fail("--model", "unknown preset '", name, "'; expected one of ", names);
}

std::vector<std::string> unet_presets() {
  std::vector<std::string> names;
  for (const auto& [name, make] : presets()) names.push_back(name);
  return names;
}

}  // namespace tw
