// gemm and gemm_outer (kernels/op/gemm.h) on checked device views, for other files of the backend. Each
// throws tw::Error.
#pragma once

#include "kernels/op/gemm.h"

namespace tw::cuda {

void multiply_views(const kernels::GemmParams& params, const View& a, View b,
                    const kernels::GemmEpilogue& terms, const View& c);
void multiply_outer(const View& a, const View& b, const View& c, const View& sum);

}  // namespace tw::cuda
