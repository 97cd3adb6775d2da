// The blocks of the DDPM and ADM U-Nets. Names of parameters are those of diffusers' UNet2DModel.
#pragma once

#include <memory>

#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/module.h"
#include "nn/unet/config.h"
#include "tensor/philox.h"

namespace tw {

enum class Resample { none, halve, double_ };

// x + conv2(dropout(silu(norm2(conv1(silu(norm1(x))) + temb)))), with a 1x1 convolution of x where the
// channels change. With scale_shift_norm: silu(norm2(conv1(...)) (1 + scale) + shift), both of temb. A block
// that resamples does so to x and to silu(norm1(x)).
class ResBlock : public Module {
 public:
  ResBlock(int64_t in, int64_t out, const UNetConfig& config, Resample resample = Resample::none);

  // SiLU of the time embedding (rows, 4 base) -> what conv1 adds to every pixel (rows, out), or scale and
  // shift of norm2 (rows, 2 out).
  Var project(const Var& activated_embedding) const { return time_emb_proj_(activated_embedding); }
  void keep_only_packed(WeightUse use) override;
  // x (n, h, w, in), temb (n, out or 2 out) -> (n, h, w, out), or half or twice h and w. In the decoder the
  // last channels of x are `joined`, a map of the encoder; concat({x, joined}) is never made. The key, or the
  // one in memory (autograd/ops/dropout.h), names the random numbers of dropout, which is active in training
  // only.
  Var operator()(const Var& x, const Var& joined, const Var& temb, const RandomKey& dropout_key,
                 const Tensor& key_in_memory = {}) const;

 private:
  GroupNorm norm1_;
  Conv2d conv1_;
  Linear time_emb_proj_;
  GroupNorm norm2_;
  Conv2d conv2_;
  std::unique_ptr<Conv2d> conv_shortcut_;
  double dropout_;
  bool scale_shift_;
  Resample resample_;
};

// x + proj(attention(q, k, v)) over the pixels of an image, with q, k, v of norm(x) from one GEMM.
class AttentionBlock : public Module {
 public:
  AttentionBlock(int64_t channels, const UNetConfig& config);
  Var operator()(const Var& x) const;  // (n, h, w, c) -> the same

 private:
  int64_t channels_, heads_;
  GroupNorm group_norm_;
  Linear to_qkv_, to_out_;
};

// 3x3 convolution with stride 2: (n, h, w, c) -> (n, h / 2, w / 2, c).
class Downsample : public Module {
 public:
  Downsample(int64_t channels, const UNetConfig& config);
  Var operator()(const Var& x) const {
    const AllocationName scope(name());
    return conv_(x);
  }

 private:
  Conv2d conv_;
};

// Nearest doubling and a 3x3 convolution: (n, h, w, c) -> (n, 2h, 2w, c).
class Upsample : public Module {
 public:
  explicit Upsample(int64_t channels);
  Var operator()(const Var& x) const;

 private:
  Conv2d conv_;
};

// t -> the sinusoid of Ho et al. 2020 (Vaswani et al. 2017, section 3.5) -> Linear, SiLU, Linear.
class TimeEmbedding : public Module {
 public:
  explicit TimeEmbedding(const UNetConfig& config);
  // (n), or their sinusoids (n, base) -> (n, 4 base)
  Var operator()(const Tensor& timesteps) const;
  Tensor sinusoids(const Tensor& timesteps) const;  // (n) -> (n, base), on the host

 private:
  int64_t base_;
  double frequency_shift_;
  bool flip_;
  Linear linear_1_, linear_2_;
};

}  // namespace tw
