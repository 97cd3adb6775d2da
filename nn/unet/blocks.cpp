#include "nn/unet/blocks.h"

#include <cmath>
#include <vector>

#include "autograd/ops/activation.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/avg_pool2d.h"
#include "autograd/ops/dropout.h"
#include "autograd/ops/reshape.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

kernels::GroupNormParams norm_of(const UNetConfig& config, bool silu) {
  return {.groups = config.groups, .eps = config.eps, .silu = silu};
}

kernels::Conv2dParams halving(const UNetConfig& config) {
  const int64_t before = config.asymmetric_downsample ? 0 : 1;
  return {
      .stride_h = 2, .stride_w = 2, .pad_top = before, .pad_bottom = 1, .pad_left = before, .pad_right = 1};
}

Var resampled(const Var& x, Resample resample) {
  if (resample == Resample::halve) return avg_pool2d(x, 2);
  return resample == Resample::double_ ? upsample_nearest2x(x) : x;
}

}  // namespace

ResBlock::ResBlock(int64_t in, int64_t out, const UNetConfig& config, Resample resample)
    : norm1_(in, norm_of(config, true)),
      conv1_(in, out, 3),
      time_emb_proj_(4 * config.base, config.scale_shift_norm ? 2 * out : out),
      norm2_(out, norm_of(config, true)),
      conv2_(out, out, 3, /*gain=*/0),
      dropout_(config.dropout),
      scale_shift_(config.scale_shift_norm),
      resample_(resample) {
  child("norm1", norm1_);
  child("conv1", conv1_);
  child("time_emb_proj", time_emb_proj_);
  child("norm2", norm2_);
  child("conv2", conv2_);
  if (in != out) {
    conv_shortcut_ = std::make_unique<Conv2d>(in, out, 1);
    child("conv_shortcut", *conv_shortcut_);
  }
}

void ResBlock::keep_only_packed(WeightUse use) {
  Module::keep_only_packed(use);
  if (use != WeightUse::any) time_emb_proj_.keep_only_packed(WeightUse::sampling);  // no gradient goes there
}

Var ResBlock::operator()(const Var& x, const Var& joined, const Var& temb, const RandomKey& dropout_key,
                         const Tensor& key_in_memory) const {
  const AllocationName scope(name());
  Var h = conv1_(resampled(norm1_(x, {}, joined), resample_), {.temb = scale_shift_ ? Var() : temb});
  h = norm2_(h, scale_shift_ ? temb : Var());
  if (training()) h = dropout(h, dropout_, dropout_key, key_in_memory);
  Var skip = resampled(x, resample_);
  if (conv_shortcut_) skip = joined.defined() ? conv_shortcut_->joined(x, joined) : (*conv_shortcut_)(x);
  return conv2_(h, {.residual = skip});
}

AttentionBlock::AttentionBlock(int64_t channels, const UNetConfig& config)
    : channels_(channels),
      heads_(config.head_channels > 0 ? channels / config.head_channels : 1),
      group_norm_(channels, norm_of(config, false)),
      to_qkv_(channels, 3 * channels),
      to_out_(channels, channels, /*gain=*/0) {
  child("group_norm", group_norm_);
  child("to_qkv", to_qkv_);
  child("to_out", to_out_);
}

Var AttentionBlock::operator()(const Var& x) const {
  const AllocationName scope(name());
  const Shape tokens{x.dim(0), x.dim(1) * x.dim(2), channels_};
  const Var qkv = to_qkv_(reshape(group_norm_(x), tokens));
  const Var attended = attention_packed(qkv, {.heads = heads_});
  return reshape(to_out_(attended, reshape(x, tokens)), x.shape());
}

Downsample::Downsample(int64_t channels, const UNetConfig& config)
    : conv_(channels, channels, 3, halving(config)) {
  child("conv", conv_);
}

Upsample::Upsample(int64_t channels) : conv_(channels, channels, 3) { child("conv", conv_); }

Var Upsample::operator()(const Var& x) const {
  const AllocationName scope(name());
  return conv_(upsample_nearest2x(x));
}

TimeEmbedding::TimeEmbedding(const UNetConfig& config)
    : base_(config.base),
      frequency_shift_(config.frequency_shift),
      flip_(config.flip_sin_to_cos),
      linear_1_(config.base, 4 * config.base),
      linear_2_(4 * config.base, 4 * config.base) {
  child("linear_1", linear_1_);
  child("linear_2", linear_2_);
}

Tensor TimeEmbedding::sinusoids(const Tensor& timesteps) const {
  const int64_t rows = timesteps.numel(), half = base_ / 2;
  const Tensor t = to_device(timesteps.contiguous(), Device::cpu).to(DType::f32);
  const Tensor sinusoids = Tensor::empty({rows, base_});
  // Frequencies and phases are rounded to f32 as in the code that published models were trained with: at
  // t = 999 that is visible in the fifth digit.
  std::vector<float> frequencies;
  for (int64_t k = 0; k < half; ++k) {
    const float exponent = static_cast<float>(-std::log(10000.0)) * static_cast<float>(k) /
                           static_cast<float>(static_cast<double>(half) - frequency_shift_);
    frequencies.push_back(static_cast<float>(std::exp(static_cast<double>(exponent))));
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* row = sinusoids.data<float>() + i * base_;
    for (int64_t k = 0; k < half; ++k) {
      const double phase = t.data<float>()[i] * frequencies[static_cast<size_t>(k)];
      row[flip_ ? half + k : k] = static_cast<float>(std::sin(phase));
      row[flip_ ? k : half + k] = static_cast<float>(std::cos(phase));
    }
  }
  return sinusoids.to(linear_1_.weight.dtype() == DType::f64 ? DType::f64 : DType::f32);
}

Var TimeEmbedding::operator()(const Tensor& timesteps) const {
  const Tensor given = timesteps.rank() == 2 ? timesteps : sinusoids(timesteps);
  return linear_2_(silu(linear_1_(to_device(given, linear_1_.weight.device()))));
}

}  // namespace tw
