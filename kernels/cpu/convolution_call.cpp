#include "kernels/cpu/convolution.h"

namespace tw::kernels {
namespace {

constexpr int64_t float_bytes = sizeof(float);

void check_workspace(const char* op, const View& workspace, int64_t bytes) {
  check(bytes == 0 || (workspace.pointer && workspace.is_contiguous() &&
                       workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= bytes),
        op, "the workspace must be contiguous and hold ", bytes, " bytes, found ", workspace.shape);
}

}  // namespace

int64_t pass_workspace_bytes(const ConvPass& pass) {
  return (pass.packed_size() + pass.workspace_size()) * float_bytes;
}

void run_pass(const char* op, const ConvPass& pass, const View& source, const View& output,
              const ConvTerms& terms, const View& workspace) {
  if (source.dtype == DType::f64) return reference_pass(pass, source, output, terms);
  check_workspace(op, workspace, pass_workspace_bytes(pass));
  float* packed = static_cast<float*>(workspace.pointer);
  pass.pack(packed);
  pass.run(source, output, terms, packed, packed + pass.packed_size());
}

int64_t outer_workspace_bytes(const ConvGeometry& geometry, int64_t fine_channels, int64_t coarse_channels,
                              bool fine_rows) {
  View fine, coarse;
  fine.shape = {fine_channels};
  coarse.shape = {coarse_channels};
  TapOuter product = outer_product(geometry, fine, coarse);
  product.dense_rows = !fine_rows;
  return workspace_size(product) * float_bytes;
}

void run_outer(const char* op, const ConvGeometry& geometry, const View& fine, const View& coarse,
               bool fine_rows, const View& gradient, const View& workspace) {
  if (fine.dtype == DType::f64) return reference_outer(geometry, fine, coarse, fine_rows, gradient);
  check_workspace(op, workspace,
                  outer_workspace_bytes(geometry, fine.shape.back(), coarse.shape.back(), fine_rows));
  TapOuter product = outer_product(geometry, fine, coarse);
  product.dense_rows = !fine_rows;
  product.gradient = static_cast<float*>(gradient.pointer);
  run_outer(product, static_cast<float*>(workspace.pointer));
}

}  // namespace tw::kernels
