// tw-demo: draws, restores and trains with the shipped model and shows it on one page. What scripts/demo.sh
// runs.
#include "apps/cli/run_main.h"
#include "apps/demo/demo.h"

int main(int argc, char** argv) {
  return tw::run_main("tw-demo", [&]() -> int {
    tw::Options options("tw-demo", "Draws pictures, restores some, trains a little, and writes report.html.");
    tw::DemoSettings settings;
    settings.declare(options);
    if (!options.parse(argc, argv)) return tw::exit_ok;
    settings.validate();
    tw::run_demo(settings);
    return tw::exit_ok;
  });
}
