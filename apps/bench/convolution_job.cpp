#include "apps/bench/convolution_job.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "apps/cli/precision.h"
#include "apps/sampling/diffusion_model.h"
#include "autograd/ops/conv2d.h"
#include "kernels/op/profile.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tw {
namespace {

using Json = nlohmann::ordered_json;

Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed) {
  return random_normal(shape, std::vector<uint64_t>{seed}, 0, Purpose::measurement).reshape(shape).to(dtype);
}

class Convolution {
 public:
  Convolution(const Json& json, DType dtype) {
    const auto at = [&](const char* name) { return json.at(name).get<int64_t>(); };
    const int64_t k = at("k"), ci = at("ci"), co = at("co"), stride = at("stride");
    const auto pad = json.at("pad").get<std::vector<int64_t>>();
    check(pad.size() == 4, "convolution", "'pad' must be [top, bottom, left, right]");
    params_ = {.stride_h = stride,
               .stride_w = stride,
               .pad_top = pad[0],
               .pad_bottom = pad[1],
               .pad_left = pad[2],
               .pad_right = pad[3]};
    const Shape weight{k, k, ci, co};
    // 32 MiB of weights, more than a core's own caches hold; the layers of a network are not reused either.
    const int64_t copies = std::clamp<int64_t>((int64_t{8} << 20) / weight.numel(), 2, 8);
    x_ = random_tensor({at("n"), at("h"), at("w"), ci}, dtype, 0);
    for (int64_t i = 0; i < copies; ++i) {
      weights_.push_back(
          {Var::leaf(random_tensor(weight, dtype, static_cast<uint64_t>(i) + 1), false), {}, {}});
      weights_.back().bias = Var::leaf(Tensor::zeros({co}), false);
    }
    dy_ = random_tensor(kernels::conv2d_output_shape(params_, x_.shape(), weight), dtype, 99);
  }

  void sweep() {
    kernels::Profile profile;
    const kernels::ProfileScope scope(profile);
    for (Weight& weight : weights_) {
      const Var x = Var::leaf(x_);
      grad({conv2d(x, weight.value, {.bias = weight.bias}, params_, &weight.packed)}, {x}, {dy_});
    }
    for (Weight& weight : weights_) {
      const Var w = Var::leaf(weight.value.value());
      grad({conv2d(Var(x_), w, {.bias = weight.bias}, params_)}, {w}, {dy_});
    }
    size_t forwards = 0;
    for (const auto& event : profile.events()) {
      const auto& row = profile.rows()[event.row];
      // The second half of the forward calls packs the weights as it goes.
      if (std::strcmp(row.op, "conv2d_forward") == 0 && forwards++ < weights_.size()) {
        forward_.push_back(event.seconds);
        method_ = row.method;
      }
      if (std::strcmp(row.op, "conv2d_data_gradient") == 0) data_.push_back(event.seconds);
      if (std::strcmp(row.op, "conv2d_weight_gradient") == 0) weight_.push_back(event.seconds);
    }
  }

  void restart() { forward_.clear(), data_.clear(), weight_.clear(); }

  void report(Json& json) const {
    json["forward"] = median(forward_), json["data"] = median(data_), json["weight"] = median(weight_);
    json["method"] = method_;
  }

 private:
  struct Weight {
    Var value, bias;
    PackedWeights packed;
  };
  kernels::Conv2dParams params_;
  Tensor x_, dy_;
  std::vector<Weight> weights_;
  std::vector<double> forward_, data_, weight_;
  std::string method_;
};

}  // namespace

Json time_convolutions(const std::string& file, const std::string& precision, Pace& pace) {
  Json list = read_json(file);
  std::vector<std::unique_ptr<Convolution>> convolutions;
  for (const Json& json : list)
    convolutions.push_back(std::make_unique<Convolution>(json, precision_dtype(precision, Device::cpu)));
  pace.on_warm = [&] {
    for (auto& convolution : convolutions) convolution->restart();
  };
  pace.start();
  do
    for (auto& convolution : convolutions) convolution->sweep();
  while (pace.step_done());
  for (size_t i = 0; i < convolutions.size(); ++i) convolutions[i]->report(list[i]);
  return list;
}

}  // namespace tw
