#include "apps/training/settings.h"

#include "apps/cli/precision.h"
#include "tensor/error.h"

namespace tw {

void TrainingSettings::declare(Options& options) {
  options.group("Data");
  options.add("--data", data, "emoji, folder:DIR, idx:FILE, tiles:DIR,32 or npy:FILE", "WHAT");
  options.add("--resolution", resolution, "height and width that the network sees");
  options.add("--flip", flip, "mirror half of the images");
  options.add("--strict", strict, "stop at an unreadable image instead of leaving it out");
  options.add("--conditional", conditional, "learn the data set's classes, for tw-sample --class");
  options.add("--drop-class", drop_class, "chance to hide the class (for guidance)");
  options.add("--balance", balance, "show every class equally often, whatever its size");

  options.group("Model");
  options.add("--model", model, "preset name or CONFIG.json (tw-inspect --list shows the presets)", "MODEL");
  options.add("--init", init, "start from the weights of this model folder", "DIR");
  options.add_choice("--schedule", schedule, {"linear", "scaled-linear", "cosine", "sigmoid"},
                     "noise schedule");
  options.add("--timesteps", timesteps, "length T of the schedule");
  options.add_choice("--prediction", prediction, {"epsilon", "v", "x0"}, "what the network predicts");
  options.add_choice("--loss-weight", loss_weight, {"uniform", "min_snr", "p2"},
                     "weight of a timestep's loss");
  options.add("--dropout", dropout, "dropout probability; negative: as the model's config");

  options.group("Optimisation");
  options.add("--steps", steps, "optimiser steps in all");
  options.add("--batch", batch, "images a micro-batch");
  options.add("--accumulate", accumulate, "micro-batches a step");
  options.add("--lr", lr, "learning rate of Adam");
  options.add_choice("--lr-schedule", lr_schedule, {"constant", "cosine"}, "learning rate after the warm-up");
  options.add("--warmup", warmup, "steps of linear warm-up");
  options.add("--clip", clip, "largest gradient norm; 0: no limit");
  options.add("--weight-decay", weight_decay, "decoupled weight decay (AdamW)");
  options.add("--beta1", beta1, "Adam's decay of the first moment");
  options.add("--beta2", beta2, "Adam's decay of the second moment");
  options.add("--ema", ema, "decay of the moving average of the weights");
  add_precision(options, precision, "of activations; master weights are f32");
  device.declare(options);
  options.add("--exact", exact, "no Winograd convolution on the CPU: slower, errors a few times smaller");
  options.add("--recompute", recompute, "recompute activations in the backward pass: less memory, more time");
  options.add("--patience", patience, "non-finite steps in a row before the run stops");
  options.add("--seed", seed, "decides weights, data order, noise and timesteps");

  options.group("Output");
  options.add("--out", out, "run folder", "DIR");
  options.add("--resume", resume, "'latest' checkpoint of --out, or a checkpoint or run folder",
              "latest|DIR");
  options.add("--log-every", log_every, "steps between lines of log.jsonl");
  options.add("--sample-every", sample_every, "steps between sample grids; 0: none");
  options.add("--sample-count", sample_count, "images in a sample grid");
  options.add("--sample-steps", sample_steps, "DDIM steps of a sample grid");
  options.add("--checkpoint-every", checkpoint_every, "steps between checkpoints; 0: only at the end");
  options.add("--keep", keep, "checkpoints to keep");
  options.add_choice("--save-dtype", save_dtype, {"f32", "bf16", "f16"}, "weights of the final model folder");
  options.add("--quiet", quiet, "no progress");
  options.add("--threads", threads, "threads; 0: as many as processors");
}

void TrainingSettings::validate() const {
  const auto at_least = [](const char* name, auto value, auto least) {
    check(value >= least, name, "must be at least ", least, ", got ", value);
  };
  const auto within = [](const char* name, double value, double low, double high) {
    check(value >= low && value <= high, name, "must lie between ", low, " and ", high, ", got ", value);
  };
  at_least("--resolution", resolution, 4);
  check(resolution <= 4096, "--resolution", "must be at most 4096, got ", resolution);
  at_least("--timesteps", timesteps, 2);
  at_least("--steps", steps, 1);
  at_least("--batch", batch, 1);
  at_least("--accumulate", accumulate, 1);
  at_least("--warmup", warmup, 0);
  at_least("--patience", patience, 1);
  at_least("--log-every", log_every, 1);
  at_least("--sample-every", sample_every, 0);
  at_least("--sample-count", sample_count, 1);
  at_least("--sample-steps", sample_steps, 1);
  check(sample_steps <= timesteps, "--sample-steps", "must be at most --timesteps ", timesteps);
  at_least("--checkpoint-every", checkpoint_every, 0);
  at_least("--keep", keep, 1);
  at_least("--threads", threads, 0);
  at_least("--clip", clip, 0.0);
  at_least("--weight-decay", weight_decay, 0.0);
  check(lr > 0, "--lr", "must be above 0, got ", lr);
  within("--ema", ema, 0, 1);
  within("--drop-class", drop_class, 0, 1);
  within("--beta1", beta1, 0, 0.9999999);
  within("--beta2", beta2, 0, 0.9999999);
  check(dropout < 1, "--dropout", "must be below 1, got ", dropout);
}

nlohmann::ordered_json TrainingSettings::identity() const {
  return {{"data", data},
          {"resolution", resolution},
          {"flip", flip},
          {"conditional", conditional},
          {"drop-class", drop_class},
          {"balance", balance},
          {"schedule", schedule},
          {"timesteps", timesteps},
          {"prediction", prediction},
          {"loss-weight", loss_weight},
          {"dropout", dropout},
          {"batch", batch},
          {"accumulate", accumulate},
          {"lr", lr},
          {"lr-schedule", lr_schedule},
          {"warmup", warmup},
          {"clip", clip},
          {"weight-decay", weight_decay},
          {"beta1", beta1},
          {"beta2", beta2},
          {"ema", ema},
          {"precision", precision},
          {"device", device.text()},
          {"exact", exact},
          {"seed", seed}};
}

}  // namespace tw
