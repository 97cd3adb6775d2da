// tw-sample: draws images from a model folder, one for each seed. docs/cli.md
#include "apps/cli/profiling.h"
#include "apps/cli/run_main.h"
#include "apps/sampling/sample_job.h"

int main(int argc, char** argv) {
  return tw::run_main("tw-sample", [&]() -> int {
    tw::Options options("tw-sample", "Draws images from a diffusion model.");
    tw::SampleJob job;
    job.declare(options);
    tw::Profiling profiling;
    profiling.declare(options);
    options.footer(
        "Example: tw-sample --model models/emoji-32 --num 16 --steps 50 --out samples --grid grid.png\n"
        "The image of a seed is the same whatever the batch size and the number of threads.");
    if (!options.parse(argc, argv)) return tw::exit_ok;
    job.validate(options);
    profiling.begin();
    const int code = tw::run(job);
    profiling.finish();
    return code;
  });
}
