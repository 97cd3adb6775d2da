// Looking a tensor up in a loaded state.
#pragma once

#include <map>
#include <string>

#include "tensor/tensor.h"

namespace tw {

// Throws Error{data} "<where>: tensor 'name' is missing" or "... is (3, 3), expected (3, 4)".
const Tensor& named_tensor(const std::string& where, const std::map<std::string, Tensor>& tensors,
                           const std::string& name, const Shape& expected);

}  // namespace tw
