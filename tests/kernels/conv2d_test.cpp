#include "kernels/op/conv2d.h"

#include <gtest/gtest.h>

#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/conv2d_naive.h"
#include "tests/kernels/every_isa.h"

namespace tw {
namespace {

using kernels::Conv2dParams;
using kernels::Conv2dPass;
using Conv2dTest = EveryIsa;

struct Case {
  const char* name;
  Shape x, w;
  Conv2dParams params;
};

std::vector<Case> cases() {
  return {
      {"3x3", {2, 5, 7, 16}, {3, 3, 16, 32}, Conv2dParams::same(3)},
      {"3x3 odd channels", {1, 6, 5, 19}, {3, 3, 19, 37}, Conv2dParams::same(3)},
      {"image in", {2, 9, 8, 3}, {3, 3, 3, 40}, Conv2dParams::same(3)},
      {"image out", {2, 7, 8, 33}, {3, 3, 33, 3}, Conv2dParams::same(3)},
      {"image out, shifted", {2, 9, 10, 20}, {5, 3, 20, 4}, {1, 1, 4, 1, 0, 2}},
      {"image out, dilated, padded beyond the kernel",
       {1, 9, 8, 17},
       {3, 2, 17, 2},
       {1, 1, 7, 1, 3, 2, 2, 2}},
      {"large image out", {1, 70, 66, 16}, {3, 3, 16, 3}, Conv2dParams::same(3)},
      {"one channel", {1, 4, 4, 1}, {3, 3, 1, 1}, Conv2dParams::same(3)},
      {"1x1", {3, 5, 3, 48}, {1, 1, 48, 20}, {}},
      {"1x1 of several chunks", {1, 48, 47, 48}, {1, 1, 48, 20}, {}},
      {"1x1 stride 2", {2, 5, 6, 17}, {1, 1, 17, 9}, {.stride_h = 2, .stride_w = 2}},
      {"stride 2", {2, 8, 8, 16}, {3, 3, 16, 16}, {2, 2, 1, 1, 1, 1}},
      {"stride 2, pad after only", {2, 8, 8, 16}, {3, 3, 16, 24}, {2, 2, 0, 1, 0, 1}},
      {"stride beyond the kernel", {1, 11, 10, 5}, {2, 2, 5, 6}, {3, 4, 0, 0, 0, 0}},
      {"stride 2 and 3, kernel 5x4", {1, 13, 12, 7}, {5, 4, 7, 11}, {2, 3, 2, 1, 0, 3}},
      {"dilation", {1, 12, 11, 8}, {3, 3, 8, 10}, {1, 1, 2, 2, 3, 3, 2, 3}},
      {"dilation 2 with stride 2", {1, 12, 12, 8}, {3, 3, 8, 10}, {2, 2, 2, 2, 2, 2, 2, 2}},
      {"dilation 3 with stride 2", {1, 12, 13, 4}, {3, 3, 4, 5}, {2, 2, 3, 3, 3, 3, 3, 3}},
      {"pad beyond the kernel", {1, 3, 3, 4}, {2, 2, 4, 4}, {1, 1, 4, 3, 2, 5}},
      {"several depth blocks", {1, 4, 5, 160}, {3, 3, 160, 48}, Conv2dParams::same(3)},
      {"depth cut inside a tap", {1, 3, 3, 1300}, {1, 2, 1300, 17}, {}},
      {"wide row", {1, 2, 600, 4}, {3, 3, 4, 5}, Conv2dParams::same(3)},
      {"row cut into pieces", {1, 1, 2100, 3}, {1, 3, 3, 5}, {.pad_left = 1, .pad_right = 1}},
      {"many small maps", {40, 6, 6, 4}, {3, 3, 4, 5}, Conv2dParams::same(3)},
      {"wide enough for Winograd", {1, 12, 11, 32}, {3, 3, 32, 32}, Conv2dParams::same(3)},
      {"several groups of positions", {5, 16, 16, 20}, {3, 3, 20, 24}, Conv2dParams::same(3)},
      {"64 channels", {1, 3, 4, 64}, {3, 3, 64, 64}, Conv2dParams::same(3)},
  };
}

Tensor scratch(int64_t bytes) { return Tensor::empty({bytes}, DType::u8); }

// Winograd (bound: 2e-5, conv2d_winograd_test.cpp) keeps the direct one's bound at these depths.
// Weights in f32 beside activations in bf16 are rounded to bf16 first.
double tolerance(DType dtype, DType weight_dtype) {
  if (dtype == DType::bf16) return weight_dtype == DType::bf16 ? 4e-3 : 6e-3;
  return dtype == DType::f64 ? 1e-12 : 2e-6;
}

// Runs every implementation that applies to every case and compares with the formula.
void check_all(DType dtype, DType weight_dtype) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, weight_dtype, 2);
    const Shape ys = kernels::conv2d_output_shape(c.params, c.x, c.w);
    const Tensor dy = random_tensor(ys, dtype, 3);
    const NaiveConv2d expected = naive_conv2d(c.params, x, w, dy);
    const kernels::Conv2dProblem problem{c.params, c.x, c.w, dtype, false};
    const auto run = [&](Conv2dPass pass, const Tensor& source, const Shape& shape, const auto& formula) {
      for (const auto& implementation : kernels::conv2d_implementations(pass)) {
        if (implementation.declines(problem)) continue;
        SCOPED_TRACE(implementation.name);
        const Tensor result = Tensor::full(shape, 77, dtype);
        const Tensor packed = scratch(implementation.packed_bytes(problem));
        const Tensor space = scratch(implementation.scratch_bytes(problem));
        implementation.pack(problem, w.view(), packed.view().pointer);
        implementation.run(problem, source.view(), w.view(), {}, result.view(), packed.view().pointer,
                           space.view().pointer);
        EXPECT_LE(max_error(result, formula), tolerance(dtype, weight_dtype));
      }
    };
    run(Conv2dPass::forward, x, ys, expected.y);
    run(Conv2dPass::data_gradient, dy, c.x, expected.dx);
    const DType gradient = dtype == DType::f64 ? DType::f64 : DType::f32;
    for (const auto& implementation : kernels::conv2d_weight_gradient_implementations()) {
      if (implementation.declines(problem)) continue;
      SCOPED_TRACE(implementation.name);
      const Tensor dw = Tensor::full(c.w, 77, gradient), db = Tensor::full({c.w[3]}, 77, gradient);
      const Tensor space = scratch(implementation.scratch_bytes(problem));
      implementation.run(problem, x.view(), dy.view(), dw.view(), db.view(), space.view().pointer);
      EXPECT_LE(max_error(dw, expected.dw), dtype == DType::f64 ? 1e-12 : 2e-6) << "dw";
      EXPECT_LE(max_error(db, expected.db), dtype == DType::f64 ? 1e-12 : 2e-6) << "db";
    }
  }
}

TEST_P(Conv2dTest, F32MatchesTheFormula) { check_all(DType::f32, DType::f32); }
TEST_P(Conv2dTest, Bf16MatchesTheFormula) { check_all(DType::bf16, DType::bf16); }
TEST_P(Conv2dTest, Bf16WithF32WeightsMatchesTheFormula) { check_all(DType::bf16, DType::f32); }

// VDPBF16PS is used where it is fast; its results are right on every processor that has it.
TEST(Conv2dBf16Dot, VectorsMatchTheFormula) {
  const kernels::Isa before = kernels::active_isa();
  for (kernels::Isa isa : kernels::supported_isas())
    if (isa == kernels::Isa::avx512_bf16) {
      kernels::set_active_isa(isa);
      kernels::prefer_vdpbf16ps(true);
      EXPECT_EQ(kernels::bf16_dot(), kernels::Bf16Dot::vdpbf16ps);
      check_all(DType::bf16, DType::bf16);
      check_all(DType::bf16, DType::f32);
      kernels::prefer_vdpbf16ps(false);
    }
  kernels::set_active_isa(before);
}

TEST_P(Conv2dTest, F64MatchesTheFormula) { check_all(DType::f64, DType::f64); }

// A tensor between guard elements; check() fails if one of them changed.
class Guarded {
 public:
  Guarded(const Shape& shape, DType dtype)
      : all_(Tensor::full({shape.numel() + 128}, 77, dtype)), shape_(shape) {}
  View view() const { return all_.slice(0, 64, 64 + shape_.numel()).reshape(shape_).view(); }
  void check(const char* what) const {
    const std::vector<double> values = all_.to_vector();
    for (size_t i = 0; i < 64; ++i)
      ASSERT_TRUE(values[i] == 77 && values[values.size() - 1 - i] == 77)
          << what << " was written outside of";
  }

 private:
  Tensor all_;
  Shape shape_;
};

// Results, scratch memory and packed weights stay within the sizes that were asked for.
TEST_P(Conv2dTest, NothingIsWrittenOutsideOfTheBuffers) {
  for (const Case& c : cases())
    for (DType dtype : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(c.name);
      const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, DType::f32, 2);
      const Shape ys = kernels::conv2d_output_shape(c.params, c.x, c.w);
      const Tensor dy = random_tensor(ys, dtype, 3);
      const auto space = [](int64_t bytes) { return Guarded({bytes / 4}, DType::f32); };
      const Guarded y(ys, dtype), dx(c.x, dtype), dw(c.w, DType::f32), db({c.w[3]}, DType::f32);
      const kernels::Conv2dProblem problem{c.params, c.x, c.w, dtype};
      const Guarded fs = space(kernels::conv2d_forward_workspace_bytes(problem));
      const Guarded ds = space(kernels::conv2d_data_gradient_workspace_bytes(problem));
      const Guarded ws = space(kernels::conv2d_weight_gradient_workspace_bytes(problem));
      kernels::conv2d_forward(c.params, x.view(), w.view(), {}, y.view(), fs.view());
      kernels::conv2d_data_gradient(c.params, dy.view(), w.view(), dx.view(), ds.view());
      kernels::conv2d_weight_gradient(c.params, x.view(), dy.view(), dw.view(), db.view(), ws.view());
      for (const Guarded* g : {&y, &dx, &dw, &db}) g->check("a result");
      for (const Guarded* g : {&fs, &ds, &ws}) g->check("the workspace");
      for (Conv2dPass pass : {Conv2dPass::forward, Conv2dPass::data_gradient}) {
        const Guarded packed({kernels::conv2d_packed_bytes(problem, pass)}, DType::u8);
        kernels::conv2d_pack_weights(problem, w.view(), pass, packed.view());
        packed.check("the packed weights");
      }
    }
}

// Bias, time embedding and residual of every implementation against the definition's in f64.
TEST_P(Conv2dTest, EveryImplementationAddsTheTerms) {
  for (const Case& c : cases())
    for (DType dtype : {DType::f32, DType::bf16})
      for (bool with_temb : {false, true}) {
        SCOPED_TRACE(c.name);
        const Shape ys = kernels::conv2d_output_shape(c.params, c.x, c.w);
        const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, dtype, 2),
                     bias = random_tensor({ys[3]}, DType::f32, 4),
                     temb = random_tensor({ys[0], ys[3]}, DType::f32, 5),
                     residual = random_tensor(ys, dtype, 6);
        const auto result = [&](const kernels::Conv2dImplementation& implementation, DType activation,
                                DType weight) {
          const kernels::Conv2dProblem problem{c.params, c.x, c.w, activation, with_temb};
          const Tensor y = Tensor::full(ys, 77, activation), xs = x.to(activation), ws = w.to(weight),
                       bs = bias.to(weight), ts = temb.to(weight), rs = residual.to(activation);
          const Tensor packed = scratch(implementation.packed_bytes(problem)),
                       space = scratch(implementation.scratch_bytes(problem));
          implementation.pack(problem, ws.view(), packed.view().pointer);
          implementation.run(problem, xs.view(), ws.view(),
                             {bs.view(), with_temb ? ts.view() : View{}, rs.view()}, y.view(),
                             packed.view().pointer, space.view().pointer);
          return y;
        };
        const auto implementations = kernels::conv2d_implementations(Conv2dPass::forward);
        const Tensor expected = result(implementations.back(), DType::f64, DType::f64);
        for (const auto& implementation : implementations) {
          if (implementation.declines({c.params, c.x, c.w, dtype, with_temb})) continue;
          SCOPED_TRACE(implementation.name);
          EXPECT_LE(max_error(result(implementation, dtype, dtype), expected), tolerance(dtype, dtype));
        }
      }
}

TEST_P(Conv2dTest, TheResidualMayBeTheResult) {
  const Tensor x = random_tensor({2, 5, 5, 16}), w = random_tensor({3, 3, 16, 20}, DType::f32, 2);
  const Tensor added = random_tensor({2, 5, 5, 20}, DType::f32, 3), y = Tensor::empty({2, 5, 5, 20});
  const auto params = Conv2dParams::same(3);
  const Tensor space = scratch(kernels::conv2d_forward_workspace_bytes({params, x.shape(), w.shape()}));
  kernels::conv2d_forward(params, x.view(), w.view(), {{}, {}, added.view()}, y.view(), space.view());
  const Tensor in_place = added.clone();
  kernels::conv2d_forward(params, x.view(), w.view(), {{}, {}, in_place.view()}, in_place.view(),
                          space.view());
  EXPECT_EQ(in_place.to_vector(), y.to_vector());
}

TEST_P(Conv2dTest, OneThreadAndThreeGiveTheSameBitsInEveryPass) {
  const int before = kernels::thread_count();
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : cases()) {
      SCOPED_TRACE(c.name);
      const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, dtype, 2);
      const kernels::Conv2dProblem problem{c.params, c.x, c.w, dtype};
      const Shape ys = kernels::conv2d_output_shape(c.params, c.x, c.w);
      const Tensor dy = random_tensor(ys, dtype, 3);
      std::vector<double> first;
      for (int threads : {1, 2, 3}) {
        kernels::set_thread_count(threads);
        const Tensor y = Tensor::empty(ys, dtype), dx = Tensor::empty(c.x, dtype), dw = Tensor::empty(c.w),
                     db = Tensor::empty({c.w[3]});
        const Tensor fs = scratch(kernels::conv2d_forward_workspace_bytes(problem));
        const Tensor ds = scratch(kernels::conv2d_data_gradient_workspace_bytes(problem));
        const Tensor ws = scratch(kernels::conv2d_weight_gradient_workspace_bytes(problem));
        kernels::conv2d_forward(c.params, x.view(), w.view(), {}, y.view(), fs.view());
        kernels::conv2d_data_gradient(c.params, dy.view(), w.view(), dx.view(), ds.view());
        kernels::conv2d_weight_gradient(c.params, x.view(), dy.view(), dw.view(), db.view(), ws.view());
        std::vector<double> all;
        for (const Tensor& t : {y, dx, dw, db})
          for (double value : t.to_vector()) all.push_back(value);
        if (threads == 1) first = all;
        EXPECT_EQ(all, first) << threads << " threads";
      }
    }
  kernels::set_thread_count(before);
}

// A sample's result does not depend on the batch it is in.
TEST_P(Conv2dTest, ASampleGivesTheSameBitsInEveryBatch) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (int64_t side : {4, 7}) {
      const auto params = Conv2dParams::same(3);
      const Tensor x = random_tensor({5, side, side, 40}, dtype, 1),
                   w = random_tensor({3, 3, 40, 33}, dtype, 2);
      const auto run = [&](const Tensor& input) {
        const Tensor y = Tensor::empty(input.shape().with(-1, 33), dtype);
        const Tensor space =
            scratch(kernels::conv2d_forward_workspace_bytes({params, input.shape(), w.shape(), dtype}));
        kernels::conv2d_forward(params, input.view(), w.view(), {}, y.view(), space.view());
        return y;
      };
      const Tensor all = run(x);
      for (int64_t i = 0; i < 5; ++i)
        EXPECT_EQ(run(x.slice(0, i, i + 1)).to_vector(), all.slice(0, i, i + 1).to_vector()) << i;
    }
}

TEST(Conv2d, ShapeErrorsSayWhatWasFound) {
  const auto message = [](const Shape& x, const Shape& w, const Conv2dParams& params) -> std::string {
    try {
      kernels::conv2d_output_shape(params, x, w);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({1, 4, 4}, {3, 3, 2, 4}, {}), "conv2d: x must be (n, h, w, ci), found (1, 4, 4)");
  EXPECT_EQ(message({1, 4, 4, 2}, {3, 3, 2, 4}, {.stride_h = 0}),
            "conv2d: strides must be at least 1, found 0 and 1");
  EXPECT_EQ(message({1, 2, 4, 2}, {3, 3, 2, 4}, {}),
            "conv2d: w (3, 3, 2, 4) with dilation 1, 1 does not fit into x (1, 2, 4, 2) padded to 2 x 4");
  EXPECT_NE(message({int64_t{1} << 40, 1, 1, 2}, {1, 1, 2, int64_t{1} << 40}, {}), "no error") << "overflow";
}

INSTANTIATE_TEST_SUITE_P(Isa, Conv2dTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
