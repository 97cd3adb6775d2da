// tw-eval: one evaluation of a network, from file to file. docs/cli.md
#include "apps/cli/device.h"
#include "apps/cli/options.h"
#include "apps/cli/precision.h"
#include "apps/cli/profiling.h"
#include "apps/cli/run_main.h"
#include "apps/sampling/diffusion_model.h"
#include "diffusion/noise.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tensor/io/safetensors.h"
#include "tensor/transfer.h"

namespace {

int evaluate(int argc, char** argv) {
  std::string model, in, out, precision = "f32";
  bool exact = false;
  int64_t threads = 0;
  tw::Options options("tw-eval", "Evaluates a network once: reads x and t (and labels), writes y.");
  options.add("--model", model, "model folder, or a diffusers folder", "DIR");
  options.add("--in", in, "holds x (n, c, h, w), t (n) or one number, and perhaps labels (n)",
              "FILE.safetensors");
  options.add("--out", out, "y (n, c, h, w) is written here", "FILE.safetensors");
  tw::add_precision(options, precision, "of weights and activations");
  tw::DeviceOption device;
  device.declare(options);
  options.add("--exact", exact, "no Winograd convolution on the CPU: slower, errors a few times smaller");
  options.add("--threads", threads, "threads; 0: as many as processors");
  tw::Profiling profiling;
  profiling.declare(options);
  if (!options.parse(argc, argv)) return tw::exit_ok;
  for (const char* name : {"--model", "--in", "--out"}) options.require(name);
  tw::check(threads >= 0 && threads <= 1024, "--threads", "must lie between 0 and 1024, got ", threads);
  if (exact) tw::kernels::set_exact(true);
  if (threads > 0) tw::kernels::set_thread_count(static_cast<int>(threads));

  const tw::Device place = device.choose();
  const tw::DiffusionModel loaded =
      tw::load_diffusion_model(model, tw::precision_dtype(precision, place), place);
  const tw::SafeTensors file = tw::load_safetensors(in);
  const tw::Tensor x = file.at("x").to(tw::DType::f32), t = file.at("t").to(tw::DType::f32).contiguous();
  if (x.rank() != 4) tw::fail_data(in, "x must be (n, c, h, w), found ", x.shape());
  const tw::UNetConfig& config = loaded.network->config();
  if (x.dim(1) != config.in_channels)
    tw::fail_data(in, "x has ", x.dim(1), " channels, the model takes ", config.in_channels);
  const int64_t n = x.dim(0), size = int64_t{1} << (config.multipliers.size() - 1);
  if (x.dim(2) % size != 0 || x.dim(3) % size != 0)
    tw::fail_data(in, "height and width must be divisible by ", size, ", found ", x.dim(2), " x ", x.dim(3));
  if (t.numel() != n && t.numel() != 1)
    tw::fail_data(in, "t must hold 1 or ", n, " values, found ", t.shape());
  const tw::Tensor times = t.numel() == n ? t.reshape({n}) : tw::Tensor::full({n}, t.item());
  tw::Tensor labels;
  if (const auto found = file.tensors.find("labels"); found != file.tensors.end()) {
    labels = found->second.to(tw::DType::i32);
    if (config.classes == 0) tw::fail_data(in, "has labels, but the model has no classes");
    if (labels.numel() != n) tw::fail_data(in, "labels must hold ", n, " values, found ", labels.shape());
    for (double label : labels.to_vector())
      if (label < 0 || label > static_cast<double>(config.classes))
        tw::fail_data(in, "label ", label, " lies outside 0..", config.classes, " (", config.classes,
                      ": none)");
  }

  profiling.begin();
  const tw::NoGrad no_grad;
  const tw::Var y =
      loaded.network->forward(tw::to_device(tw::channels_last(x), loaded.network->device()), times, labels);
  tw::save_safetensors(out, {{"y", tw::channels_first(y.value().to(tw::DType::f32))}});
  profiling.finish();
  return tw::exit_ok;
}

}  // namespace

int main(int argc, char** argv) {
  return tw::run_main("tw-eval", [&] { return evaluate(argc, argv); });
}
