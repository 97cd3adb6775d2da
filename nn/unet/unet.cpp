#include "nn/unet/unet.h"

#include <algorithm>
#include <cstring>

#include "autograd/checkpoint.h"
#include "autograd/ops/activation.h"
#include "autograd/ops/binary.h"
#include "autograd/ops/reshape.h"
#include "tensor/error.h"
#include "tensor/transfer.h"

namespace tw {

UNet::UNet(const UNetConfig& config, std::optional<uint64_t> seed)
    : config_((config.validate(), config)),
      time_embedding_(config),
      conv_in_(config.in_channels, config.base, 3) {
  child("conv_in", conv_in_);
  child("time_embedding", time_embedding_);
  if (config.classes > 0) {
    class_embedding_ = std::make_unique<Embedding>(config.classes + 1, 4 * config.base);
    child("class_embedding", *class_embedding_);
  }

  const int64_t levels = static_cast<int64_t>(config.multipliers.size());
  auto channels_of = [&](int64_t level) {
    return config.base * config.multipliers[static_cast<size_t>(level)];
  };
  auto attends = [&](int64_t level) {
    return std::find(config.attention_resolutions.begin(), config.attention_resolutions.end(),
                     config.resolution >> level) != config.attention_resolutions.end();
  };

  std::vector<int64_t> skips{config.base};  // channels of every map that the way up will concatenate
  int64_t channels = config.base;
  for (int64_t level = 0; level < levels; ++level) {
    std::vector<int64_t> inputs;
    for (int64_t block = 0; block < config.blocks; ++block) {
      inputs.push_back(channels);
      channels = channels_of(level);
      skips.push_back(channels);
    }
    down_.push_back(make_level("down_blocks." + std::to_string(level), inputs, channels, attends(level)));
    if (level + 1 == levels) continue;
    add_resample(*down_.back(), "down_blocks." + std::to_string(level) + ".downsamplers.0", channels,
                 Resample::halve);
    skips.push_back(channels);
  }

  middle_ = make_level("mid_block", {channels, channels}, channels, config.middle_attention);

  for (int64_t level = levels - 1; level >= 0; --level) {
    std::vector<int64_t> inputs;
    for (int64_t block = 0; block <= config.blocks; ++block) {
      inputs.push_back(channels + skips.back());
      skips.pop_back();
      channels = channels_of(level);
    }
    const std::string name = "up_blocks." + std::to_string(levels - 1 - level);
    up_.push_back(make_level(name, inputs, channels, attends(level)));
    if (level == 0) continue;
    add_resample(*up_.back(), name + ".upsamplers.0", channels, Resample::double_);
  }

  conv_norm_out_ = std::make_unique<GroupNorm>(
      channels, kernels::GroupNormParams{.groups = config.groups, .eps = config.eps, .silu = true});
  conv_out_ = std::make_unique<Conv2d>(channels, config.out_channels, 3, /*gain=*/0);
  child("conv_norm_out", *conv_norm_out_);
  child("conv_out", *conv_out_);
  if (seed) initialise(*seed);
}

std::unique_ptr<UNet::Level> UNet::make_level(const std::string& name, const std::vector<int64_t>& inputs,
                                              int64_t channels, bool attends) {
  auto level = std::make_unique<Level>();
  const bool middle = name == "mid_block";
  for (size_t i = 0; i < inputs.size(); ++i) {
    level->resnets.push_back(std::make_unique<ResBlock>(inputs[i], channels, config_));
    child(name + ".resnets." + std::to_string(i), *level->resnets.back());
    blocks_.push_back(level->resnets.back().get());
    if (!attends || (middle && i > 0)) continue;
    level->attentions.push_back(std::make_unique<AttentionBlock>(channels, config_));
    child(name + ".attentions." + std::to_string(i), *level->attentions.back());
  }
  return level;
}

void UNet::add_resample(Level& level, const std::string& name, int64_t channels, Resample resample) {
  if (config_.residual_resample) {
    level.resample = std::make_unique<ResBlock>(channels, channels, config_, resample);
    child(name, *level.resample);
    blocks_.push_back(level.resample.get());
  } else if (resample == Resample::halve) {
    level.down = std::make_unique<Downsample>(channels, config_);
    child(name, *level.down);
  } else {
    level.up = std::make_unique<Upsample>(channels);
    child(name, *level.up);
  }
}

Conditioning UNet::condition(const Tensor& t, const Tensor& labels) const {
  check(t.rank() == 1 || (t.rank() == 2 && t.dim(1) == config_.base), "unet",
        "t must be (n), or its sinusoids (n, ", config_.base, "), found ", t.shape());
  const Shape rows{t.dim(0)};
  Var embedding = time_embedding_(t);
  if (class_embedding_) {
    Tensor index = labels;
    if (!index.defined()) index = Tensor::full(rows, static_cast<double>(config_.classes), DType::i32);
    check(index.shape() == rows, "unet", "labels must be ", rows, ", found ", index.shape());
    embedding = embedding + cast((*class_embedding_)(to_device(index, device())), embedding.dtype());
  } else {
    check(!labels.defined(), "unet", "labels were given to a network without classes");
  }
  const Var activated = silu(embedding);
  Conditioning conditioning;
  for (const ResBlock* block : blocks_) conditioning.projections.push_back(block->project(activated));
  return conditioning;
}

Var UNet::forward(const Var& x, const Tensor& t, const Tensor& labels) const {
  return forward(x, condition(t, labels));
}

// One residual block and the attention after it, if any. inputs: the map, the encoder's map that is joined to
// it (or undefined), the projection of the time.
Var UNet::stage(const ResBlock& resnet, const AttentionBlock* attention, size_t block,
                const std::vector<Var>& inputs) const {
  const auto compute = [&resnet, attention, key = dropout_key(block),
                        in_memory = keys_in_memory_.defined()
                                        ? keys_in_memory_.select(0, static_cast<int64_t>(block))
                                        : Tensor()](const std::vector<Var>& in) {
    // Nodes of their own, where the block's gradients are summed before they join those of other users of
    // the maps: so recomputation changes no bit.
    const Var x = reshape(in[0], in[0].shape());
    const Var joined = in[1].defined() ? reshape(in[1], in[1].shape()) : Var();
    const Var h = resnet(x, joined, cast(in[2], x.dtype()), key, in_memory);
    return attention ? (*attention)(h) : h;
  };
  return recompute_ && grad_enabled() ? checkpoint(compute, inputs) : compute(inputs);
}

RandomKey UNet::dropout_key(size_t block) const {
  RandomKey key = dropout_key_;
  key.step = key.step * blocks_.size() + block;
  return key;
}

Tensor UNet::dropout_keys() const {
  const Tensor keys = Tensor::zeros({static_cast<int64_t>(blocks_.size()), 4}, DType::i64);
  for (size_t block = 0; block < blocks_.size(); ++block) {
    const RandomKey key = dropout_key(block);
    std::memcpy(keys.data<int64_t>() + 4 * block, &key, sizeof key);
  }
  return keys;
}

Var UNet::forward(const Var& x, const Conditioning& conditioning) const {
  check_input(x);
  size_t block = 0;
  const auto run = [&](const Level& level, size_t i, const Var& h, const Var& skip = {}) {
    const size_t index = block++;
    const AttentionBlock* attention = i < level.attentions.size() ? level.attentions[i].get() : nullptr;
    return stage(*level.resnets[i], attention, index, {h, skip, conditioning.projections[index]});
  };
  const auto resample = [&](const Level& level, const Var& h) {
    if (level.down) return (*level.down)(h);
    if (level.up) return (*level.up)(h);
    const size_t index = block++;
    return stage(*level.resample, nullptr, index, {h, Var(), conditioning.projections[index]});
  };

  Var h = cast(conv_in_(x), x.dtype() == DType::f64 ? DType::f64 : activation_dtype_);
  std::vector<Var> skips{h};
  for (const auto& level : down_) {
    for (size_t i = 0; i < level->resnets.size(); ++i) skips.push_back(h = run(*level, i, h));
    if (level != down_.back()) skips.push_back(h = resample(*level, h));
  }
  for (size_t i = 0; i < middle_->resnets.size(); ++i) h = run(*middle_, i, h);
  for (const auto& level : up_) {
    for (size_t i = 0; i < level->resnets.size(); ++i) {
      const Var skip = std::move(skips.back());
      skips.pop_back();
      h = run(*level, i, h, skip);
    }
    if (level != up_.back()) h = resample(*level, h);
  }
  return (*conv_out_)(cast((*conv_norm_out_)(h), x.dtype()));
}

void UNet::set_activation_dtype(DType dtype) {
  check(is_floating(dtype) && dtype != DType::f64, "unet", "activations can be f32, bf16 or f16, not ",
        dtype_name(dtype));
  activation_dtype_ = dtype;
}

void UNet::check_input(const Var& x) const {
  const int64_t step = int64_t{1} << (config_.multipliers.size() - 1);
  check(x.shape().rank() == 4 && x.dim(3) == config_.in_channels, "unet", "x must be (n, h, w, ",
        config_.in_channels, "), found ", x.shape());
  check(x.dim(1) % step == 0 && x.dim(2) % step == 0, "unet", "height and width must be multiples of ", step,
        ", found ", x.shape());
}

}  // namespace tw
