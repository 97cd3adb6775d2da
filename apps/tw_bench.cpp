// tw-bench: times networks and single convolutions, and measures what the machine can do. The peers in
// bench/peers/ answer to the same protocol (apps/bench/pace.h). docs/cli.md
#include <cstdio>
#include <iostream>

#include "apps/bench/convolution_job.h"
#include "apps/bench/network_job.h"
#include "apps/bench/pace.h"
#include "apps/bench/scale_plots.h"
#include "apps/cli/device.h"
#include "apps/cli/memory.h"
#include "apps/cli/options.h"
#include "apps/cli/precision.h"
#include "apps/cli/profiling.h"
#include "apps/cli/run_main.h"
#include "apps/cli/version.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/machine_rates.h"
#include "kernels/cpu/thread_pool.h"
#include "nn/unet/cost.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace {

using Json = nlohmann::ordered_json;

struct Settings {
  std::string what = "net", json, inputs, outputs, list;
  tw::NetworkJob job;
  std::vector<int64_t> batches{1, 4, 16};
  int64_t repeat = 5, threads = 0;
  tw::DeviceOption device;
  bool exact = false;
  bool interactive = false;
};

// The first step fills caches, such as packed weights, the second records the memory plan, the third replays
// it.
int64_t warm_up(const Settings& settings) { return settings.what == "convs" ? 1 : 3; }

Json time_network(const Settings& settings, int64_t batch, tw::Profiling& profiling) {
  const size_t program = tw::resident_bytes();
  const bool on_device = settings.job.device == tw::Device::cuda;
  if (on_device) tw::cuda_reset_peak();
  const auto network = settings.job.network();
  size_t weights = 0;
  for (const tw::Parameter& parameter : network->parameters()) weights += parameter.value.value().nbytes();
  const int64_t parameters = network->parameter_count();
  tw::Pace pace(warm_up(settings), settings.repeat, settings.interactive);
  pace.on_warm = [&] { profiling.warm(); };
  const int64_t nodes = tw::run_steps(settings.job, *network, batch, pace);
  Json row{{"mode", settings.job.mode},
           {"batch", batch},
           {"resolution", network->config().resolution},
           {"threads", tw::kernels::thread_count()},
           {"precision", settings.job.precision},
           {"device", tw::device_name(settings.job.device)},
           {"seconds_per_image", tw::median(pace.seconds()) / static_cast<double>(batch)},
           {"seconds", pace.seconds()},
           {"peak_rss_bytes", tw::peak_resident_bytes()},
           {"program_bytes", program},
           {"weight_bytes", weights},
           {"parameters", parameters},
           {"flops_per_image", 2.0 * static_cast<double>(tw::unet_cost(network->config()).multiply_adds)}};
  if (on_device) {
    row["peak_device_bytes"] = tw::cuda_memory().peak;
    row["graph_nodes"] = nodes;
  }
  return row;
}

void time_networks(const Settings& settings, tw::Profiling& profiling, Json& result) {
  result["model"] = settings.job.model;
  result["rows"] = Json::array();
  for (int64_t batch : settings.batches) {
    const Json row = time_network(settings, batch, profiling);
    if (!settings.interactive)
      std::printf("%-6s batch %3lld %-4s %9.2f ms/image  peak %7.0f MiB\n", settings.job.mode.c_str(),
                  static_cast<long long>(batch), settings.job.precision.c_str(),
                  row["seconds_per_image"].get<double>() * 1e3,
                  row.value("peak_device_bytes", row["peak_rss_bytes"]).get<double>() / (1 << 20));
    std::fflush(stdout);
    result["rows"].push_back(row);
  }
}

void time_convolutions(const Settings& settings, Json& result) {
  tw::Pace pace(warm_up(settings), settings.repeat, settings.interactive);
  result["convolutions"] = tw::time_convolutions(settings.list, settings.job.precision, pace);
  for (const Json& row : result["convolutions"]) {
    if (settings.interactive) break;
    std::printf("%s  forward %8.1f  data %8.1f  weight %8.1f us  [%s]\n",
                tw::detail::join(row["n"], " x ", row["h"], " x ", row["w"], "  ", row["ci"], " -> ",
                                 row["co"], "  k", row["k"], " s", row["stride"])
                    .c_str(),
                row["forward"].get<double>() * 1e6, row["data"].get<double>() * 1e6,
                row["weight"].get<double>() * 1e6, row["method"].get<std::string>().c_str());
  }
}

void measure_machine(Json& result) {
  const tw::kernels::MachineRates rates = tw::kernels::measure_machine_rates();
  result["isa"] = tw::kernels::isa_name(tw::kernels::active_isa());
  result["peak_flops"] = rates.flops;
  result["bandwidth"] = Json::array();
  for (const auto& level : rates.levels)
    result["bandwidth"].push_back(
        {{"bytes_per_thread", level.bytes_per_thread}, {"bytes_per_second", level.bytes_per_second}});
  std::cout << result.dump(1) << "\n";
}

int bench(int argc, char** argv) {
  Settings settings;
  tw::Options options("tw-bench", "Times networks and convolutions: medians, and the peak resident memory.");
  options.add("what", settings.what,
              "net: steps of a network; check: one step on given inputs; convs: single convolutions; plot: "
              "curves of net's rows; machine: peak rates",
              "net|check|convs|plot|machine");
  options.add("--model", settings.job.model, "preset, CONFIG.json, or a model folder", "MODEL");
  options.add_choice("--mode", settings.job.mode, {"sample", "dps", "train"},
                     "a sampling step, one with a gradient to the image, or a training step");
  options.add("--batch", settings.batches, "batch sizes");
  tw::add_precision(options, settings.job.precision, "of activations, and of frozen weights");
  settings.device.declare(options);
  options.add("--resolution", settings.job.resolution, "of the images; 0: the model's");
  options.add("--repeat", settings.repeat, "timed steps; the median counts");
  options.add("--interactive", settings.interactive,
              "run the steps that lines 'run SECONDS' on standard input ask for");
  options.add("--list", settings.list, "the convolutions of convs, or the rows of plot", "FILE.json");
  options.add("--inputs", settings.inputs, "x, t and v of check", "FILE.safetensors");
  options.add("--outputs", settings.outputs, "results of check; the folder of plot", "FILE");
  options.add("--exact", settings.exact,
              "no Winograd convolution on the CPU: slower, errors a few times smaller");
  options.add("--threads", settings.threads, "threads; 0: as many as processors");
  options.add("--json", settings.json, "write the results to this file", "FILE");
  tw::Profiling profiling;
  profiling.declare(options);
  options.footer(
      "Peak memory is of the whole process, or with --device cuda of the device: give one batch size for its "
      "own peak.");
  if (!options.parse(argc, argv)) return tw::exit_ok;
  tw::check(settings.repeat >= 1, "--repeat", "must be at least 1, got ", settings.repeat);
  tw::check(settings.threads >= 0 && settings.threads <= 1024, "--threads",
            "must lie between 0 and 1024, got ", settings.threads);
  tw::check(settings.job.resolution >= 0 && settings.job.resolution <= 4096, "--resolution",
            "must lie between 0 and 4096, got ", settings.job.resolution);
  for (int64_t batch : settings.batches)
    tw::check(batch >= 1 && batch <= 4096, "--batch", "must lie between 1 and 4096, got ", batch);
  tw::check(!settings.interactive || settings.what == "convs" || settings.batches.size() == 1, "--batch",
            "must be one size with --interactive");
  settings.job.device = settings.device.choose();
  tw::check(settings.job.device == tw::Device::cpu || settings.what == "net" || settings.what == "check",
            "--device", settings.what, " runs on the cpu only");
  if (settings.exact) tw::kernels::set_exact(true);
  if (settings.threads > 0) tw::kernels::set_thread_count(static_cast<int>(settings.threads));

  Json result{{"program", "tweedie " + tw::version_text()},
              {"threads", tw::kernels::thread_count()},
              {"exact", tw::kernels::exact()},
              {"build", tw::build_description()}};
  profiling.begin();
  if (settings.what == "net") {
    time_networks(settings, profiling, result);
  } else if (settings.what == "check") {
    for (const char* name : {"--inputs", "--outputs"}) options.require(name);
    tw::check_step(settings.job, *settings.job.network(), settings.inputs, settings.outputs);
  } else if (settings.what == "convs") {
    options.require("--list");
    time_convolutions(settings, result);
  } else if (settings.what == "plot") {
    for (const char* name : {"--list", "--outputs"}) options.require(name);
    tw::plot_scale(settings.list, settings.outputs);
  } else if (settings.what == "machine") {
    measure_machine(result);
  } else {
    throw tw::Error("expected net, check, convs, plot or machine, got '" + settings.what + "'");
  }
  profiling.finish();
  if (!settings.json.empty()) tw::write_file_atomically(settings.json, result.dump(1) + "\n");
  return tw::exit_ok;
}

}  // namespace

int main(int argc, char** argv) {
  return tw::run_main("tw-bench", [&] { return bench(argc, argv); });
}
