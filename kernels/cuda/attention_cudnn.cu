#include <cmath>

#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/plan_cache.h"
#include "kernels/cuda/scratch.h"

namespace tw::cuda {
namespace {

constexpr size_t first_version = 91900;  // older ones have not been tried

// (n, heads, tokens, channels) of a view (n, tokens, heads channels).
struct Heads {
  std::vector<int64_t> extents, strides;

  Heads(const View& v, int64_t heads)
      : extents{v.shape[0], heads, v.shape[1], v.shape[2] / heads},
        strides{v.strides[0], v.shape[2] / heads, v.strides[1], 1} {}
};

// What the graph promises of every tensor: tokens begin at multiples of 16 bytes.
bool aligned(const View& v) {
  return reinterpret_cast<uintptr_t>(v.pointer) % 16 == 0 && v.strides[0] % 8 == 0 && v.strides[1] % 8 == 0;
}

}  // namespace

bool attention_by_cudnn(const kernels::AttentionParams& params, const kernels::AttentionInputs& in,
                        const View& o, const View& log_sum_exp) {
  const DType dtype = in.q.dtype;
  const int64_t heads = params.heads, n = in.q.shape[0], tq = in.q.shape[1], d = in.q.shape[2] / heads;
  if ((dtype != DType::bf16 && dtype != DType::f16) || in.mask || d % 8 != 0 || d > 256) return false;
  if (!aligned(in.q) || !aligned(in.k) || !aligned(in.v) || !aligned(o)) return false;
  if (reinterpret_cast<uintptr_t>(log_sum_exp.pointer) % 16 != 0 || cudnn::version() < first_version)
    return false;
  const double scale = params.scale != 0 ? params.scale : 1 / std::sqrt(static_cast<double>(d));
  std::string key = detail::join("attention,", dtype_name(dtype), ",h", heads, ",d", d, ",x", scale);
  for (const View* v : {&in.q, &in.k, &in.v, &static_cast<const View&>(o)})
    key += detail::join(",", v->shape[0], "x", v->shape[1], "s", v->strides[0], "x", v->strides[1]);
  const cudnn::Plan* plan = find_plan(key, [&] {
    PlannedGraph made;
    made.most = 1;
    const auto tensor = [&](const View& v) {
      const Heads at(v, heads);
      return made.graph.tensor(dtype, at.extents, at.strides);
    };
    const int q = tensor(in.q), k = tensor(in.k), v = tensor(in.v), result = tensor(o);
    const int sums = made.graph.tensor(DType::f32, {n, heads, tq, 1}, {heads * tq, tq, 1, 1});
    made.graph.attention(q, k, v, static_cast<float>(scale), result, sums);
    return made;
  });
  if (!plan) return false;
  void* const pointers[] = {in.q.pointer, in.k.pointer, in.v.pointer, o.pointer, log_sum_exp.pointer};
  const Scratch workspace("attention_forward", static_cast<size_t>(plan->workspace_bytes()));
  plan->run(cudnn::handle(stream()), pointers, workspace.get());
  return true;
}

}  // namespace tw::cuda
