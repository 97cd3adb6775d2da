// Times single convolutions: forward, data gradient and weight gradient, as the ops record them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "apps/bench/pace.h"

namespace tw {

// `file` holds a JSON array of {"n", "h", "w", "ci", "co", "k", "stride", "pad": [top, bottom, left, right]}.
// A step of the pace is a sweep over all of them, each with several weights in turn, so that they are not all
// in a cache, packed beforehand for the forward pass and the data gradient. Returns the array with the median
// seconds a call: "forward", "data", "weight", and "method", the implementation of the forward pass.
nlohmann::ordered_json time_convolutions(const std::string& file, const std::string& precision, Pace& pace);

}  // namespace tw
