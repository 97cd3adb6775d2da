// The U-Net of denoising diffusion models (Ho et al. 2020; Dhariwal & Nichol 2021): predicts noise, image or
// velocity from a noisy image and its time.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nn/unet/blocks.h"
#include "nn/unet/time_table.h"

namespace tw {

// What the residual blocks take of time and class: one projection of the (time + class) embedding for each
// block, (rows, channels) or, with scale_shift_norm, (rows, 2 channels). It does not depend on x, so a
// sampling loop computes the rows of all its steps at once (nn/unet/time_table.h).
struct Conditioning {
  std::vector<Var> projections;
};

class UNet : public Module {
 public:
  // Without a seed the parameters are left unset, for a loader to fill in.
  explicit UNet(const UNetConfig& config, std::optional<uint64_t> seed = 0);

  const UNetConfig& config() const { return config_; }
  Device device() const { return conv_in_.weight.device(); }

  // x (n, h, w, in_channels), f32, on device(); t (n) f32, or sinusoids(t); labels (n) i32 with values
  // 0..classes (classes: no class), undefined for an unconditional network or for no class; both on any
  // device. -> (n, h, w, out_channels), f32. h and w must be divisible by 2^(levels - 1).
  Var forward(const Var& x, const Tensor& t, const Tensor& labels = {}) const;

  // The two halves of forward.
  Conditioning condition(const Tensor& t, const Tensor& labels = {}) const;
  Var forward(const Var& x, const Conditioning& conditioning) const;

  // What the embedding of t begins with, (n, base), computed on the host. On device() it is what a repeated
  // step takes instead of t (tensor/cuda_graph.h); its labels are there too, and not undefined.
  Tensor sinusoids(const Tensor& t) const { return time_embedding_.sinusoids(t); }

  // The conditioning of a whole schedule at once, and forward with step `row` of it: bit for bit the same.
  TimeTable time_table(const std::vector<float>& timesteps, const Tensor& labels = {}) const;
  Var forward(const Var& x, const TimeTable& table, int64_t row) const;

  // What lies between the first and the last convolution is stored in bf16 or f16 (CUDA only; statistics,
  // sums and the embedding stay f32); parameters keep their dtype. With f64 parameters and x everything is
  // f64.
  void set_activation_dtype(DType dtype);
  DType activation_dtype() const { return activation_dtype_; }

  // Keeps only the inputs of the blocks for the backward pass, which computes each block a second time.
  void set_recompute(bool on) { recompute_ = on; }

  // Names the random numbers of dropout in training: sample i of a batch draws from the stream of
  // (seed, first_sample + i, step). To be set before every step.
  void set_dropout_key(uint64_t seed, uint64_t step, uint64_t first_sample = 0) {
    dropout_key_ = {.seed = seed, .sample = first_sample, .step = step, .purpose = Purpose::dropout};
  }
  // The keys of all blocks by that name, (blocks, 4) i64 on the host; and, on device(), where a repeated step
  // finds them instead of the key above, until undefined ones are set.
  Tensor dropout_keys() const;
  void set_dropout_keys_in_memory(const Tensor& keys) { keys_in_memory_ = keys; }

 private:
  struct Level {
    std::vector<std::unique_ptr<ResBlock>> resnets;
    std::vector<std::unique_ptr<AttentionBlock>> attentions;  // one a block, or none
    std::unique_ptr<Downsample> down;
    std::unique_ptr<Upsample> up;
    std::unique_ptr<ResBlock> resample;  // instead of down or up
  };

  std::unique_ptr<Level> make_level(const std::string& name, const std::vector<int64_t>& inputs,
                                    int64_t channels, bool attends);
  void add_resample(Level& level, const std::string& name, int64_t channels, Resample resample);
  Var stage(const ResBlock& resnet, const AttentionBlock* attention, size_t block,
            const std::vector<Var>& inputs) const;
  RandomKey dropout_key(size_t block) const;
  void check_input(const Var& x) const;

  UNetConfig config_;
  DType activation_dtype_ = DType::f32;
  bool recompute_ = false;
  RandomKey dropout_key_{.purpose = Purpose::dropout};
  Tensor keys_in_memory_;
  TimeEmbedding time_embedding_;
  std::unique_ptr<Embedding> class_embedding_;
  Conv2d conv_in_;
  std::vector<std::unique_ptr<Level>> down_, up_;
  std::unique_ptr<Level> middle_;
  std::unique_ptr<GroupNorm> conv_norm_out_;
  std::unique_ptr<Conv2d> conv_out_;
  std::vector<const ResBlock*> blocks_;  // in the order in which forward meets them
};

}  // namespace tw
