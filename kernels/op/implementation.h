// Ordered lists of implementations of one op: the first that applies runs.
#pragma once

#include <span>
#include <string>

#include "tensor/error.h"

namespace tw::kernels {

bool verbose();  // TW_VERBOSE=1
void report_declined(const char* op, const char* name, const char* reason);

// `Implementation` has name and declines(problem), null where it applies.
template <class Implementation, class Problem>
const Implementation& choose(const char* op, std::span<const Implementation> list, const Problem& problem) {
  for (const Implementation& implementation : list) {
    const char* reason = implementation.declines(problem);
    if (!reason) return implementation;
    if (verbose()) report_declined(op, implementation.name, reason);
  }
  fail(op, "no implementation applies");
}

}  // namespace tw::kernels
