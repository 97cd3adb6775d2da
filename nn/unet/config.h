// The DDPM U-Net of Ho et al. 2020 (appendix B), in numbers, and what ADM (Dhariwal & Nichol 2021) changed in
// it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tw {

struct UNetConfig {
  int64_t in_channels = 3, out_channels = 3;
  int64_t resolution = 32;  // of the images it is trained on; attention_resolutions are in its pixels
  int64_t base = 128;       // channels at full resolution
  std::vector<int64_t> multipliers{1, 2, 2,
                                   2};  // channels of each level / base; the resolution halves between levels
  int64_t blocks = 2;                   // residual blocks a level on the way down; one more on the way up
  std::vector<int64_t> attention_resolutions{16};
  bool middle_attention = true;
  int64_t head_channels = 0;  // channels of an attention head; 0: one head
  double dropout = 0;
  int64_t classes = 0;  // 0: unconditional; otherwise label `classes` means "no class"
  int64_t groups = 32;
  double eps = 1e-6;
  bool asymmetric_downsample =
      true;  // pad right and bottom only before a stride-2 convolution, as the original does
  // ADM, "adaptive group normalisation" (section 3.1): the time scales and shifts the second norm of a
  // residual block instead of being added before it.
  bool scale_shift_norm = false;
  // ADM, section 3.1 ("BigGAN residual blocks"): the map is halved and doubled within a residual block, by
  // averages and nearest neighbours, and not by a convolution.
  bool residual_resample = false;
  // Time embedding: [sin, cos] with frequencies exp(-ln(10000) k / (half - frequency_shift)); cosines first
  // if flip_sin_to_cos.
  double frequency_shift = 1;
  bool flip_sin_to_cos = false;

  bool operator==(const UNetConfig&) const = default;
  void validate() const;  // throws Error naming the field that is out of range
};

// "ddpm-cifar10" (35,746,307 parameters), "adm-ffhq-256" (93,563,910; its outputs are epsilon and the
// variance's interpolation), "emoji-32", "mnist-28", "tiny". Throws Error listing them for another name.
UNetConfig unet_preset(const std::string& name);
std::vector<std::string> unet_presets();

}  // namespace tw
