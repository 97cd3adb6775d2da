// tw-inspect: what a file or folder holds, and how much memory and arithmetic a model takes. docs/cli.md
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "apps/cli/device.h"
#include "apps/cli/memory.h"
#include "apps/cli/options.h"
#include "apps/cli/precision.h"
#include "apps/cli/run_main.h"
#include "apps/image/read_image.h"
#include "apps/sampling/diffusion_model.h"
#include "apps/sampling/draw.h"
#include "autograd/saved_log.h"
#include "nn/unet/config_json.h"
#include "nn/unet/cost.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"

namespace {

namespace fs = std::filesystem;

std::string with_commas(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

void print_row(const std::string& name, const std::string& dtype, const std::string& shape, double bytes) {
  std::printf("%-52s %-6s %-22s %12s\n", name.c_str(), dtype.c_str(), shape.c_str(),
              tw::human_bytes(bytes).c_str());
}

void inspect_safetensors(const std::string& path) {
  const tw::SafeTensorsFile file(path);
  for (const auto& [key, value] : file.metadata())
    std::printf("metadata %s: %s\n", key.c_str(), value.c_str());
  int64_t elements = 0;
  double bytes = 0;
  for (const tw::SafeTensorsEntry& entry : file.entries()) {
    int64_t numel = 1;
    std::string shape = "(";
    for (uint64_t extent : entry.shape) {
      numel *= static_cast<int64_t>(extent);
      if (shape.size() > 1) shape += ", ";
      shape += std::to_string(extent);
    }
    print_row(entry.name, entry.dtype, shape + ")", static_cast<double>(entry.end - entry.begin));
    elements += numel;
    bytes += static_cast<double>(entry.end - entry.begin);
  }
  std::printf("%zu tensors, %s elements, %s\n", file.entries().size(), with_commas(elements).c_str(),
              tw::human_bytes(bytes).c_str());
}

void inspect_image(const std::string& path) {
  const tw::Image image = tw::read_image(path);
  std::printf("%lld x %lld pixels, %lld channel%s, %d bits\n", static_cast<long long>(image.width),
              static_cast<long long>(image.height), static_cast<long long>(image.channels),
              image.channels == 1 ? "" : "s", image.bit_depth);
  for (const auto& [key, value] : image.text) std::printf("%s: %s\n", key.c_str(), value.c_str());
}

void inspect_array(const std::string& path) {
  const auto arrays = path.ends_with(".npz") ? tw::load_npz(path)
                                             : std::map<std::string, tw::Tensor>{{path, tw::load_npy(path)}};
  for (const auto& [name, array] : arrays)
    print_row(name, tw::dtype_name(array.dtype()), array.shape().str(), static_cast<double>(array.nbytes()));
}

// Draws one batch with a few steps, so that the plan is the one of a real sampling step.
void print_plan(const tw::DiffusionModel& model, int64_t batch) {
  tw::SamplerSettings sampler;
  sampler.steps = 4;
  const tw::Schedule schedule(model.card.schedule);
  const tw::SamplerTable table =
      tw::make_table(schedule, model.card.prediction, model.card.sampling, sampler);
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < batch; ++i) seeds.push_back(static_cast<uint64_t>(i));
  tw::DrawSettings settings;
  settings.height = settings.width = model.network->config().resolution;
  settings.channels = model.card.channels;
  settings.arena = tw::PlannedArena::on(model.network->device());
  tw::draw(*model.network, table, seeds, settings);
  std::printf("\nmemory plan of a sampling step, batch %lld:\n", static_cast<long long>(batch));
  std::cout << std::flush << settings.arena->plan_table();
}

// What one evaluation keeps for a backward pass: with frozen weights, to the image alone, or to the weights
// too.
void print_tape(tw::DiffusionModel& model, int64_t batch, bool training) {
  const tw::UNetConfig& config = model.network->config();
  std::vector<tw::Tensor> parameters;
  for (const tw::Parameter& parameter : model.network->parameters())
    parameters.push_back(parameter.value.value());
  model.network->freeze(!training);
  const tw::Var x =
      tw::Var::leaf(tw::Tensor::zeros({batch, config.resolution, config.resolution, config.in_channels},
                                      tw::DType::f32, model.network->device()),
                    !training);
  tw::SavedLog log;
  const tw::Var y = model.network->forward(x, tw::Tensor::zeros({batch}));
  model.network->freeze();
  std::printf("\nkept for the backward pass of %s, batch %lld:\n",
              training ? "a training step" : "guided sampling (frozen weights)",
              static_cast<long long>(batch));
  std::cout << std::flush << log.table(parameters);
}

void inspect_model(const fs::path& folder, bool plan, const std::string& tape, int64_t batch,
                   const std::string& precision, tw::Device device) {
  tw::DiffusionModel model = tw::load_diffusion_model(folder, tw::precision_dtype(precision, device), device);
  std::cout << "network " << nlohmann::ordered_json::parse(tw::to_json(model.network->config())).dump(2)
            << "\n"
            << "diffusion " << model.card.diffusion_json().dump(2) << "\n"
            << "data " << model.card.data_json().dump(2) << "\n"
            << std::flush;
  std::printf("\n");
  int64_t bytes = 0;
  for (const tw::Parameter& parameter : model.network->parameters()) {
    const tw::Tensor& value = parameter.value.value();
    print_row(parameter.name, tw::dtype_name(value.dtype()), value.shape().str(),
              static_cast<double>(value.nbytes()));
    bytes += static_cast<int64_t>(value.nbytes());
  }
  std::printf("\nparameters             %s (%s in memory)\n",
              with_commas(model.network->parameter_count()).c_str(),
              tw::human_bytes(static_cast<double>(bytes)).c_str());
  std::printf("multiply-accumulates   %s an evaluation of one image\n",
              with_commas(tw::unet_cost(model.network->config()).multiply_adds).c_str());
  std::printf("weights hash           %s\n", model.hash.get().c_str());
  if (plan) print_plan(model, batch);
  if (!tape.empty()) print_tape(model, batch, tape == "training");
}

int inspect(int argc, char** argv) {
  std::string what, precision = "f32", tape;
  bool plan = false, list = false;
  int64_t batch = 1;
  tw::Options options("tw-inspect", "Says what a model folder, safetensors, npy, npz or image file holds.");
  options.add("what", what, "model folder or file", "FILE|DIR");
  options.add("--plan", plan, "also plan the memory of a sampling step and print it");
  options.add_choice("--tape", tape, {"guided", "training"}, "also print what is kept for a backward pass");
  options.add("--batch", batch, "images at once, for --plan and --tape");
  tw::add_precision(options, precision, "of weights and activations");
  tw::DeviceOption device;
  device.declare(options);
  options.add("--list", list, "the presets of tw-train --model");
  if (!options.parse(argc, argv)) return tw::exit_ok;
  tw::check(batch >= 1 && batch <= 4096, "--batch", "must lie between 1 and 4096, got ", batch);
  if (list) {
    for (const std::string& preset : tw::unet_presets()) {
      const tw::UNetConfig config = tw::unet_preset(preset);
      const tw::UNetCost cost = tw::unet_cost(config);
      std::printf("%-16s %12s parameters, %16s multiply-accumulates\n", preset.c_str(),
                  with_commas(cost.parameters).c_str(), with_commas(cost.multiply_adds).c_str());
    }
    return tw::exit_ok;
  }
  options.require("what");
  if (fs::is_directory(what)) {
    inspect_model(what, plan, tape, batch, precision, device.choose());
    return tw::exit_ok;
  }
  if (plan || !tape.empty()) tw::fail(plan ? "--plan" : "--tape", "needs a model folder, ", what, " is none");
  if (!fs::exists(what)) tw::fail_data(what, "does not exist");
  if (what.ends_with(".npy") || what.ends_with(".npz"))
    inspect_array(what);
  else if (tw::has_image_extension(what))
    inspect_image(what);
  else
    inspect_safetensors(what);
  return tw::exit_ok;
}

}  // namespace

int main(int argc, char** argv) {
  return tw::run_main("tw-inspect", [&] { return inspect(argc, argv); });
}
