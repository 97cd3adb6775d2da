#include "kernels/cuda/cudnn_graph.h"

#include <algorithm>

#include "kernels/cuda/vendor_library.h"
#include "tensor/error.h"

namespace tw::cuda::cudnn {
namespace {

// The functions of cuDNN that are used, under their names without the prefix.
struct Api {
  decltype(&cudnnGetVersion) get_version;
  decltype(&cudnnCreate) create;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnGetErrorString) error_string;
  decltype(&cudnnGetLastErrorString) last_error_string;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor;
  decltype(&cudnnBackendSetAttribute) set_attribute;
  decltype(&cudnnBackendGetAttribute) get_attribute;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendExecute) execute;
};

Api load() {
  const VendorLibrary library("libcudnn.so.9", "cuDNN 9", "convolutions");
  Api api;
  library.find("cudnnGetVersion", api.get_version);
  library.find("cudnnCreate", api.create);
  library.find("cudnnSetStream", api.set_stream);
  library.find("cudnnGetErrorString", api.error_string);
  library.find("cudnnGetLastErrorString", api.last_error_string);
  library.find("cudnnBackendCreateDescriptor", api.create_descriptor);
  library.find("cudnnBackendDestroyDescriptor", api.destroy_descriptor);
  library.find("cudnnBackendSetAttribute", api.set_attribute);
  library.find("cudnnBackendGetAttribute", api.get_attribute);
  library.find("cudnnBackendFinalize", api.finalize);
  library.find("cudnnBackendExecute", api.execute);
  return api;
}

const Api& api() {
  static const Api loaded = load();
  return loaded;
}

void require(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char reason[1024] = "";
  api().last_error_string(reason, sizeof reason);
  throw Error(ErrorKind::data,
              detail::join("cuDNN: ", what, " gave ", api().error_string(status), ": ", reason));
}

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      fail("cuDNN", "computes with f32, bf16 and f16 here, found ", dtype_name(dtype));
  }
}

constexpr cudnnDataType_t f32 = CUDNN_DATA_FLOAT;  // of all sums

struct OperationNames {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t window, x, w, y, alpha, beta;
};
OperationNames names_of(Pass pass) {
  switch (pass) {
    case Pass::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case Pass::data_gradient:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case Pass::weight_gradient:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

// The engine configurations that one heuristic proposes; none where it knows no engine.
std::vector<std::shared_ptr<Descriptor>> proposals(const Descriptor& graph, const Target& target,
                                                   cudnnBackendHeurMode_t mode, int most) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (target.properties) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
  if (api().finalize(heuristic.get()) != CUDNN_STATUS_SUCCESS) return {};
  std::vector<std::shared_ptr<Descriptor>> configs;
  std::vector<cudnnBackendDescriptor_t> pointers;
  for (int i = 0; i < most; ++i) {
    configs.push_back(std::make_shared<Descriptor>(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    pointers.push_back(configs.back()->get());
  }
  int64_t found = 0;
  require(api().get_attribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                              most, &found, pointers.data()),
          "reading the heuristics' proposals");
  configs.resize(static_cast<size_t>(std::min<int64_t>(found, most)));
  return configs;
}

// Whether the engine keeps this library's promises: f32 sums, one result for one input.
bool acceptable(const Descriptor& config, bool exact_f32) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t pointer = engine.get();
  int64_t found = 0;
  require(api().get_attribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                              &found, &pointer),
          "reading an engine");
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  require(api().get_attribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                              CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &found, notes),
          "reading an engine's numerical notes");
  return std::none_of(notes, notes + found, [&](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
           (exact_f32 &&
            (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
  });
}

}  // namespace

cudnnHandle_t handle(cudaStream_t stream) {
  static cudnnHandle_t made = nullptr;
  if (!made) {
    require(api().create(&made), "cudnnCreate");
    require(api().set_stream(made, stream), "cudnnSetStream");
  }
  return made;
}

size_t version() {
  static const size_t loaded = [] {
    try {
      return api().get_version();
    } catch (const Error&) {
      return size_t{0};
    }
  }();
  return loaded;
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t made = nullptr;
  require(api().create_descriptor(type, &made), "cudnnBackendCreateDescriptor");
  pointer_.reset(made);
}

void Descriptor::Destroy::operator()(cudnnBackendDescriptor_t pointer) const {
  api().destroy_descriptor(pointer);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                     const void* values) {
  const cudnnStatus_t status = api().set_attribute(get(), name, type, count, values);
  if (status != CUDNN_STATUS_SUCCESS) require(status, detail::join("setting attribute ", name).c_str());
}

void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  const cudnnBackendDescriptor_t pointer = value.get();
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &pointer);
}

void Descriptor::finalize(const char* what) { require(api().finalize(get()), what); }

int64_t Descriptor::number(cudnnBackendAttributeName_t name) const {
  int64_t value = 0, found = 0;
  require(api().get_attribute(get(), name, CUDNN_TYPE_INT64, 1, &found, &value), "reading a number");
  return value;
}

Target Target::described(const std::string& json) {
  Target target;
  target.properties = std::make_shared<Descriptor>(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  target.properties->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                         static_cast<int64_t>(json.size()) + 1, json.c_str());
  target.properties->finalize("the properties of a device");
  return target;
}

int Graph::tensor(DType dtype, const Shape& shape, Where where) {
  // cuDNN names the extents (n, c, ...); the strides say that channels are last in memory.
  const Shape strides = contiguous_strides(shape);
  std::vector<int64_t> extents{shape[0], shape.back()}, steps{strides[0], strides.back()};
  for (int i = 1; i + 1 < shape.rank(); ++i) extents.push_back(shape[i]), steps.push_back(strides[i]);
  return describe(dtype, extents, steps, where);
}

int Graph::tensor(DType dtype, const std::vector<int64_t>& extents, const std::vector<int64_t>& strides) {
  return describe(dtype, extents, strides, Where::memory);
}

int Graph::describe(DType dtype, const std::vector<int64_t>& extents, const std::vector<int64_t>& strides,
                    Where where) {
  const cudnnDataType_t type = data_type(dtype);
  const int64_t id = static_cast<int64_t>(tensors_.size()) + 1, rank = static_cast<int64_t>(extents.size());
  const bool between = where == Where::between, by_value = where == Where::constant;
  f32_only_ = f32_only_ && dtype == DType::f32;
  Descriptor& tensor = tensors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, rank, extents.data());
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, rank, strides.data());
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{16});
  tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
  tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
  tensor.finalize("a tensor");
  if (where == Where::memory) in_memory_.push_back(id);
  return static_cast<int>(id) - 1;
}

Descriptor& Graph::operation(cudnnBackendDescriptorType_t type) { return operations_.emplace_back(type); }

void Graph::convolution(Pass pass, const Window& window, int x, int w, int y) {
  Descriptor& shape = parts_.emplace_back(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  shape.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, window.axes);
  shape.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32);
  shape.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  shape.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, window.axes, window.before);
  shape.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, window.axes, window.after);
  shape.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, window.axes, window.dilation);
  shape.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, window.axes, window.stride);
  shape.finalize("a convolution's window");
  const OperationNames names = names_of(pass);
  Descriptor& run = operation(names.type);
  const float one = 1, zero = 0;
  run.set(names.x, tensors_[static_cast<size_t>(x)]);
  run.set(names.w, tensors_[static_cast<size_t>(w)]);
  run.set(names.y, tensors_[static_cast<size_t>(y)]);
  run.set(names.window, shape);
  run.set(names.alpha, CUDNN_TYPE_FLOAT, 1, &one);
  run.set(names.beta, CUDNN_TYPE_FLOAT, 1, &zero);
  run.finalize("a convolution");
}

void Graph::add(int a, int b, int y) {
  Descriptor& mode = parts_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  const cudnnPointwiseMode_t addition = CUDNN_POINTWISE_ADD;
  mode.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &addition);
  mode.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &f32);
  mode.finalize("an addition's mode");
  Descriptor& run = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  run.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, mode);
  run.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensors_[static_cast<size_t>(a)]);
  run.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensors_[static_cast<size_t>(b)]);
  run.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensors_[static_cast<size_t>(y)]);
  run.finalize("an addition");
}

void Graph::attention(int q, int k, int v, float scale, int o, int log_sum_exp) {
  const int factor = describe(DType::f32, {1, 1, 1, 1}, {1, 1, 1, 1}, Where::constant);
  constants_.push_back({factor + 1, scale});
  Descriptor& run = operation(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
  run.set(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, tensors_[static_cast<size_t>(q)]);
  run.set(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, tensors_[static_cast<size_t>(k)]);
  run.set(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, tensors_[static_cast<size_t>(v)]);
  run.set(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, tensors_[static_cast<size_t>(o)]);
  run.set(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, tensors_[static_cast<size_t>(log_sum_exp)]);
  run.set(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, tensors_[static_cast<size_t>(factor)]);
  run.finalize("attention");
}

std::vector<Plan> Graph::plans(const Target& target, bool tf32, int most) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  std::vector<cudnnBackendDescriptor_t> operations;
  for (const Descriptor& operation : operations_) operations.push_back(operation.get());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            static_cast<int64_t>(operations.size()), operations.data());
  if (target.handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
  graph.finalize("an operation graph");
  std::vector<Plan> plans;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (const auto& config : proposals(graph, target, mode, 64)) {
      if (static_cast<int>(plans.size()) == most || !acceptable(*config, f32_only_ && !tf32)) continue;
      try {
        plans.emplace_back(target, config, in_memory_, constants_);
      } catch (const Error&) {
        // The heuristics propose engines that turn out not to fit; the next one may.
      }
    }
    if (!plans.empty()) break;
  }
  return plans;
}

Plan::Plan(const Target& target, std::shared_ptr<Descriptor> config, std::vector<int64_t> ids,
           std::vector<Constant> constants)
    : config_(std::move(config)),
      plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR),
      ids_(std::move(ids)),
      constants_(std::move(constants)) {
  if (target.handle)
    plan_.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
  else
    plan_.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
  plan_.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, *config_);
  plan_.finalize("an execution plan");
  workspace_bytes_ = plan_.number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
}

void Plan::run(cudnnHandle_t handle, std::span<void* const> pointers, void* workspace) const {
  check(pointers.size() == ids_.size(), "cuDNN", "a plan with ", ids_.size(), " tensors got ",
        pointers.size());
  std::vector<int64_t> ids = ids_;
  std::vector<const void*> places(pointers.begin(), pointers.end());
  for (const Constant& constant : constants_) ids.push_back(constant.id), places.push_back(&constant.value);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  const int64_t count = static_cast<int64_t>(ids.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, places.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  pack.finalize("a plan's pointers");
  require(api().execute(handle, plan_.get(), pack.get()), "running a plan");
}

}  // namespace tw::cuda::cudnn
