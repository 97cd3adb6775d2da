// A whole training run: steps, logs, sample grids and checkpoints in a run folder.
#pragma once

#include "apps/cli/options.h"
#include "apps/training/settings.h"

namespace tw {

// Returns exit_ok, or exit_interrupted after Ctrl-C (a checkpoint has been written then). Throws
// Error{numeric} after too many non-finite steps in a row.
int train(const TrainingSettings& settings, const Options& options);

}  // namespace tw
