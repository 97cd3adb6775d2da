// A thin builder over cuDNN 9's graph API (its C backend API: the C++ frontend is not part of the toolkit):
// convolutions with what is added to them, and attention.
//
// y = conv(x, w) + bias, the sum between them never in memory:
//   const int x = graph.tensor(f32, {n, h, w, ci}), ..., sum = graph.tensor(f32, {...}, Where::between);
//   graph.convolution(Pass::forward, window, x, w, sum);
//   graph.add(sum, bias, y);
//   graph.plans(target)[0].run(handle, pointers, workspace);
//
// Plans for a device can also be made without one, from its properties as JSON: 36 passes on a described H200
// get theirs in 0.3 s. Fused graphs cannot, because cuDNN compiles them with the driver's help.
// libcudnn.so.9 is loaded at first use, so the backend needs it only for convolutions. Everything throws
// tw::Error with the failed call and cuDNN's own explanation.
#pragma once

#include <cudnn.h>

#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tw::cuda::cudnn {

// A cuDNN handle on `stream`, made at first use.
cudnnHandle_t handle(cudaStream_t stream);
size_t version();  // of the library that was loaded: 91900 is 9.19.0; 0 when there is none

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);
  void set(cudnnBackendAttributeName_t name, int64_t value) { set(name, CUDNN_TYPE_INT64, 1, &value); }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void finalize(const char* what);  // `what` is being built, for the error's text
  int64_t number(cudnnBackendAttributeName_t name) const;
  cudnnBackendDescriptor_t get() const { return pointer_.get(); }

 private:
  struct Destroy {
    void operator()(cudnnBackendDescriptor_t pointer) const;
  };
  std::unique_ptr<std::remove_pointer_t<cudnnBackendDescriptor_t>, Destroy> pointer_;
};

// What plans are made for: the device of a handle, or one described by the JSON of its properties.
struct Target {
  cudnnHandle_t handle = nullptr;
  std::shared_ptr<Descriptor> properties;

  static Target described(const std::string& json);
};

struct Constant {
  int64_t id;
  float value;
};

class Plan {
 public:
  // Throws when the engine cannot be built. `ids` are the tensors that lie in memory; constants are passed
  // with every run.
  Plan(const Target& target, std::shared_ptr<Descriptor> config, std::vector<int64_t> ids,
       std::vector<Constant> constants);
  int64_t workspace_bytes() const { return workspace_bytes_; }
  // One pointer for each tensor in memory, in the order in which they were described.
  void run(cudnnHandle_t handle, std::span<void* const> pointers, void* workspace) const;

 private:
  std::shared_ptr<Descriptor> config_;
  Descriptor plan_;
  std::vector<int64_t> ids_;
  std::vector<Constant> constants_;
  int64_t workspace_bytes_ = 0;
};

enum class Pass { forward, data_gradient, weight_gradient };

struct Window {
  int axes = 2;  // 2 or 3; the arrays' first entries are used
  int64_t stride[3] = {1, 1, 1}, before[3] = {}, after[3] = {}, dilation[3] = {1, 1, 1};
};

// between: it never leaves the fused kernel; constant: one number, passed with every run
enum class Where { memory, between, constant };

class Graph {
 public:
  // A contiguous tensor with the channels last: (n, ..., c); a weight is (co, taps..., ci), a bias (1, ..,
  // co). Returns its number.
  int tensor(DType dtype, const Shape& shape, Where where = Where::memory);
  // In memory in any layout; extents and strides (in elements) in cuDNN's order.
  int tensor(DType dtype, const std::vector<int64_t>& extents, const std::vector<int64_t>& strides);
  // x (n, ..., ci), w (co, ..., ci), y (n, ..., co); the pass says which of them is computed. Sums in f32.
  void convolution(Pass pass, const Window& window, int x, int w, int y);
  void add(int a, int b, int y);  // y = a + b, b broadcast where its extent is 1
  // o = softmax(scale q k^T) v for q, k, v and o of (n, heads, tokens, channels); log_sum_exp (n, heads,
  // tokens, 1) of the scaled scores, f32.
  void attention(int q, int k, int v, float scale, int o, int log_sum_exp);

  // Closes the graph. Up to `most` plans, best first. Engines that sum in another order each time, sum in
  // 16 bits, or (unless `tf32`) round f32 inputs are left out. Empty: cuDNN has no engine for this.
  std::vector<Plan> plans(const Target& target, bool tf32, int most = 8);

 private:
  Descriptor& operation(cudnnBackendDescriptorType_t type);
  int describe(DType dtype, const std::vector<int64_t>& extents, const std::vector<int64_t>& strides,
               Where where);

  std::vector<Descriptor> tensors_, operations_, parts_;
  std::vector<int64_t> in_memory_;
  std::vector<Constant> constants_;
  bool f32_only_ = true;
};

}  // namespace tw::cuda::cudnn
