// Gradient checkpointing: a segment of a network that is computed again in the backward pass instead of being
// kept (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost).
#pragma once

#include <functional>
#include <vector>

#include "autograd/var.h"

namespace tw {

// y = f(inputs). The tape keeps the inputs and f, and nothing that f's ops save; the backward pass runs f a
// second time. Parameters and other Vars that f captures receive their gradients from backward() and grad()
// as if f had been called directly. f must give the same result both times, so it must not draw from a
// stateful generator, and what it captures by reference must live until the backward pass is over.
// Throws in the backward pass if an input was changed in place since, or if f depends on other Vars then.
Var checkpoint(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Var>& inputs);

}  // namespace tw
