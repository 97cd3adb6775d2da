// libcudnn.so.9 as far as kernels/cuda/cudnn_graph.cpp uses it: graphs of one convolution and additions after
// it, or of attention, by definition. A descriptor keeps the bytes of its attributes and a share of the
// descriptors it was given. What the real one refuses is refused: pads that differ before and after, pointers
// that are not aligned as promised, attention on heads without a multiple of 8 channels. Graphs with three
// additions have no engine, so that both ways of adding the terms of a convolution are run.
#include <cudnn.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "tests/cuda_emulator/block.h"
#include "tests/cuda_emulator/element.h"

namespace {

struct Node {
  cudnnBackendDescriptorType_t type;
  std::map<int, std::vector<char>> values;
  std::map<int, std::vector<std::shared_ptr<Node>>> nodes;

  template <class V>
  std::vector<V> all(int name) const {
    const auto found = values.find(name);
    if (found == values.end()) return {};
    std::vector<V> result(found->second.size() / sizeof(V));
    std::memcpy(result.data(), found->second.data(), found->second.size());
    return result;
  }
  template <class V>
  V one(int name) const {
    V value;
    std::memcpy(&value, values.at(name).data(), sizeof value);
    return value;
  }
  const Node& node(int name) const { return *nodes.at(name).at(0); }
  bool has(int name) const { return nodes.count(name) > 0; }
};

struct Holder {
  std::shared_ptr<Node> node;
};
std::shared_ptr<Node>& node_of(cudnnBackendDescriptor_t p) { return static_cast<Holder*>(p)->node; }

size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_DOUBLE:
      return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    default:
      return 4;
  }
}

char last_error[256];
cudnnStatus_t refuse(const char* why) {
  std::snprintf(last_error, sizeof last_error, "%s", why);
  return CUDNN_STATUS_NOT_SUPPORTED;
}

// Extents and strides in elements, in cuDNN's order (n, c, ...).
struct Tensor {
  std::vector<int64_t> extents, strides;
  cudaDataType_t type;
  void* pointer;
  std::shared_ptr<std::vector<double>> between;  // the elements of a virtual tensor

  int64_t at(const std::vector<int64_t>& index) const {
    int64_t offset = 0;
    for (size_t i = 0; i < extents.size(); ++i) offset += (extents[i] == 1 ? 0 : index[i]) * strides[i];
    return offset;
  }
  double get(const std::vector<int64_t>& index) const {
    return between ? (*between)[static_cast<size_t>(at(index))] : emulator::load(type, pointer, at(index));
  }
  void put(const std::vector<int64_t>& index, double value) const {
    if (between)
      (*between)[static_cast<size_t>(at(index))] = value;
    else
      emulator::store(type, pointer, at(index), value);
  }
};

// Calls f(index) for every index below `extents`.
template <class F>
void for_each(const std::vector<int64_t>& extents, F f) {
  std::vector<int64_t> index(extents.size(), 0);
  for (const int64_t extent : extents)
    if (extent == 0) return;
  for (;;) {
    f(index);
    size_t axis = index.size();
    while (axis > 0 && ++index[axis - 1] == extents[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

struct Run {
  std::map<int64_t, void*> pointers;
  std::map<int64_t, Tensor> tensors;
  float scale = 1;  // of attention: passed by value, so read when the plan is run

  const Tensor& tensor(const Node& node) {
    const int64_t id = node.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    if (const auto found = tensors.find(id); found != tensors.end()) return found->second;
    Tensor made{node.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS), node.all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES),
                CUDA_R_32F, nullptr, nullptr};
    switch (node.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)) {
      case CUDNN_DATA_BFLOAT16:
        made.type = CUDA_R_16BF;
        break;
      case CUDNN_DATA_HALF:
        made.type = CUDA_R_16F;
        break;
      default:
        break;
    }
    if (node.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) {
      int64_t numel = 1;
      for (const int64_t extent : made.extents) numel *= extent;
      made.between = std::make_shared<std::vector<double>>(static_cast<size_t>(numel));
    } else {
      made.pointer = pointers.at(id);
    }
    return tensors[id] = made;
  }

  // y[n, co, p] = sum over ci and taps t of x[n, ci, p stride - before + t dilation] w[co, ci, t], and the
  // same relation with dx or dw as the result.
  void convolve(const Node& window, const Tensor& x, const Tensor& w, const Tensor& y, char result) {
    const auto stride = window.all<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES),
               before = window.all<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS),
               dilation = window.all<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
    const size_t axes = stride.size();
    const Tensor& sum_of = result == 'x' ? x : result == 'w' ? w : y;
    std::vector<double> sums;
    int64_t reach = 1;
    for (size_t i = 0; i < sum_of.extents.size(); ++i) reach += (sum_of.extents[i] - 1) * sum_of.strides[i];
    sums.assign(static_cast<size_t>(reach), 0.0);
    std::vector<int64_t> taps(w.extents.begin() + 2, w.extents.end()), at_x, at_w;
    for_each(y.extents, [&](const std::vector<int64_t>& p) {
      at_w.assign(2 + axes, 0);
      at_x.assign(2 + axes, 0);
      at_w[0] = p[1];
      at_x[0] = p[0];
      double total = 0;
      const double dy = result == 'y' ? 0 : y.get(p);
      for_each(taps, [&](const std::vector<int64_t>& t) {
        for (size_t i = 0; i < axes; ++i) {
          at_w[2 + i] = t[i];
          at_x[2 + i] = p[2 + i] * stride[i] - before[i] + t[i] * dilation[i];
          if (at_x[2 + i] < 0 || at_x[2 + i] >= x.extents[2 + i]) return;
        }
        for (int64_t ci = 0; ci < w.extents[1]; ++ci) {
          at_w[1] = at_x[1] = ci;
          if (result == 'y')
            total += x.get(at_x) * w.get(at_w);
          else if (result == 'x')
            sums[static_cast<size_t>(x.at(at_x))] += dy * w.get(at_w);
          else
            sums[static_cast<size_t>(w.at(at_w))] += dy * x.get(at_x);
        }
      });
      if (result == 'y') y.put(p, total);
    });
    if (result != 'y')
      for_each(sum_of.extents, [&](const std::vector<int64_t>& i) {
        sum_of.put(i, sums[static_cast<size_t>(sum_of.at(i))]);
      });
  }

  void attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& sums) {
    const int64_t tk = k.extents[2], d = q.extents[3];
    std::vector<double> s(static_cast<size_t>(tk));
    for_each(sums.extents, [&](std::vector<int64_t> at) {
      double largest = -INFINITY, sum = 0;
      std::vector<int64_t> other = at;
      for (int64_t key = 0; key < tk; ++key) {
        double score = 0;
        other[2] = key;
        for (int64_t c = 0; c < d; ++c) at[3] = other[3] = c, score += q.get(at) * k.get(other);
        s[static_cast<size_t>(key)] = scale * score;
        largest = std::fmax(largest, scale * score);
      }
      for (double& p : s) sum += p = std::exp(p - largest);
      for (int64_t c = 0; c < d; ++c) {
        double average = 0;
        other[3] = at[3] = c;
        for (int64_t key = 0; key < tk; ++key)
          other[2] = key, average += s[static_cast<size_t>(key)] * v.get(other);
        o.put(at, average / sum);
      }
      at[3] = 0;
      sums.put(at, largest + std::log(sum));
    });
  }

  void operator()(const Node& operation) {
    const auto of = [&](int name) -> const Tensor& { return tensor(operation.node(name)); };
    switch (operation.type) {
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        return convolve(operation.node(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y), 'y');
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        return convolve(operation.node(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY), 'x');
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        return convolve(operation.node(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW),
                        of(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY), 'w');
      case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
        return attend(of(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC), of(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC),
                      of(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC), of(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC),
                      of(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC));
      default: {  // an addition
        const Tensor &a = of(CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
                     &b = of(CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
                     &y = of(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
        for_each(y.extents, [&](const std::vector<int64_t>& i) { y.put(i, a.get(i) + b.get(i)); });
      }
    }
  }
};

const std::vector<std::shared_ptr<Node>>& operations_of(const Node& plan) {
  return plan.node(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
      .node(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)
      .nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

// What engines of attention ask of q, k and v: 16 bits, 8 to 256 channels by eights, tokens at 16 bytes.
bool head_fits(const Node& tensor) {
  const auto extents = tensor.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS),
             strides = tensor.all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  return tensor.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE) != CUDNN_DATA_FLOAT &&
         extents[3] % 8 == 0 && extents[3] <= 256 && strides[2] % 8 == 0;
}

}  // namespace

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

extern "C" {

size_t cudnnGetVersion() { return 91900; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_NOT_SUPPORTED";
}
void cudnnGetLastErrorString(char* text, size_t size) { std::snprintf(text, size, "%s", last_error); }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* made) {
  *made = new Holder{std::make_shared<Node>()};
  node_of(*made)->type = type;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t p) {
  delete static_cast<Holder*>(p);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t p, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  Node& node = *node_of(p);
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    node.nodes[name].clear();
    for (int64_t i = 0; i < count; ++i)
      node.nodes[name].push_back(node_of(static_cast<const cudnnBackendDescriptor_t*>(values)[i]));
  } else {
    const char* bytes = static_cast<const char*>(values);
    node.values[name].assign(bytes, bytes + static_cast<size_t>(count) * size_of(type));
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t p) {
  const Node& node = *node_of(p);
  if (node.type == CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR &&
      node.all<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS) !=
          node.all<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS))
    return refuse("pads that differ before and after");
  if (node.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
    const auto
        x = node.node(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X).all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS),
        w = node.node(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W).all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
    if (x.size() != w.size() || x[1] != w[1]) return refuse("x and w do not fit");
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t p, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t, int64_t* found, void* values) {
  const std::shared_ptr<Node>& node = node_of(p);
  *found = 1;
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
      const auto& operations =
          node->node(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
      const Node& last = *operations.back();
      const bool attention = last.type == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR;
      if ((attention && !head_fits(last.node(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC))) ||
          operations.size() > 3 ||
          node->one<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) != CUDNN_HEUR_MODE_A) {
        *found = 0;
        return CUDNN_STATUS_SUCCESS;
      }
      Node& config = *node_of(*static_cast<cudnnBackendDescriptor_t*>(values));
      config.nodes[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH] =
          node->nodes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
      *found = 0;
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: {
      const int64_t bytes = 1024;
      std::memcpy(values, &bytes, sizeof bytes);
      return CUDNN_STATUS_SUCCESS;
    }
    default:
      return refuse("an attribute that the emulator does not know");
  }
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  const auto ids = node_of(pack)->all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = node_of(pack)->all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (!node_of(pack)->one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE)) return refuse("no workspace");
  Run run;
  int64_t by_value = 0;  // the number of that tensor
  for (const auto& operation : operations_of(*node_of(plan)))
    if (operation->has(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC))
      by_value =
          operation->node(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC).one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == by_value) {
      std::memcpy(&run.scale, pointers[i], sizeof run.scale);
      continue;
    }
    if (reinterpret_cast<uintptr_t>(pointers[i]) % 16 != 0) return refuse("a pointer off its alignment");
    run.pointers[ids[i]] = pointers[i];
  }
  emulator::enqueue(handle->stream, [run, shared = node_of(plan)]() mutable {
    for (const auto& operation : operations_of(*shared)) run(*operation);
    run.tensors.clear();
  });
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
