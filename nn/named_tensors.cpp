#include "nn/named_tensors.h"

#include "tensor/error.h"

namespace tw {

const Tensor& named_tensor(const std::string& where, const std::map<std::string, Tensor>& tensors,
                           const std::string& name, const Shape& expected) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail_data(where, "tensor '", name, "' is missing; expected shape ", expected);
  if (!(found->second.shape() == expected))
    fail_data(where, "tensor '", name, "' is ", found->second.shape(), ", expected ", expected);
  return found->second;
}

}  // namespace tw
