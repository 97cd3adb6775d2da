#include "kernels/op/adam.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "kernels/op/square_sum.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::AdamParams;

struct Model {
  Tensor p, m, v, ema, copy;
  Model(int64_t n, DType dtype)
      : p(random_tensor({n}, dtype, 1)),
        m(Tensor::zeros({n}, dtype)),
        v(Tensor::zeros({n}, dtype)),
        ema(p.clone()),
        copy(Tensor::zeros({n}, DType::bf16)) {}
  void step(const AdamParams& params, const Tensor& gradient) {
    kernels::adam_step(params, {p.view(), gradient.view(), m.view(), v.view(), ema.view(), copy.view()});
  }
};

// The formulas in the header, one value at a time.
void naive_step(const AdamParams& a, std::vector<double>& p, const std::vector<double>& gradient,
                std::vector<double>& m, std::vector<double>& v, std::vector<double>& ema) {
  const double t = static_cast<double>(a.step);
  for (size_t i = 0; i < p.size(); ++i) {
    double g = a.grad_scale * gradient[i];
    if (a.decoupled)
      p[i] *= 1 - a.lr * a.weight_decay;
    else
      g += a.weight_decay * p[i];
    m[i] = a.beta1 * m[i] + (1 - a.beta1) * g;
    v[i] = a.beta2 * v[i] + (1 - a.beta2) * g * g;
    p[i] -= a.lr / (1 - std::pow(a.beta1, t)) * m[i] /
            (std::sqrt(v[i]) / std::sqrt(1 - std::pow(a.beta2, t)) + a.eps);
    ema[i] = a.ema_decay * ema[i] + (1 - a.ema_decay) * p[i];
  }
}

using AdamTest = EveryIsa;

TEST_P(AdamTest, FollowsTheFormulasOverManySteps) {
  for (bool decoupled : {true, false})
    for (DType dtype : {DType::f32, DType::f64})
      for (int64_t n : {1, 37, 20001}) {
        Model model(n, dtype);
        std::vector<double> p = model.p.to_vector(), m(p.size()), v(p.size()), ema = p;
        AdamParams params{
            .lr = 3e-3, .weight_decay = 0.1, .decoupled = decoupled, .grad_scale = 0.25, .ema_decay = 0.9};
        for (params.step = 1; params.step <= 20; ++params.step) {
          const Tensor g = random_tensor({n}, dtype, static_cast<unsigned>(params.step), 0.1);
          model.step(params, g);
          naive_step(params, p, g.to_vector(), m, v, ema);
        }
        const double tolerance = dtype == DType::f64 ? 1e-14 : 1e-6;
        EXPECT_LE(max_error(model.p, Tensor::from(p)), tolerance) << n;
        EXPECT_LE(max_error(model.m, Tensor::from(m)), tolerance) << n;
        EXPECT_LE(max_error(model.v, Tensor::from(v)), tolerance) << n;
        EXPECT_LE(max_error(model.ema, Tensor::from(ema)), tolerance) << n;
        EXPECT_EQ(model.copy.to_vector(), model.p.to(DType::bf16).to_vector());
      }
}

TEST_P(AdamTest, TakesABf16Gradient) {
  Model a(100, DType::f32), b(100, DType::f32);
  const Tensor g = random_tensor({100}, DType::bf16, 3);
  a.step({.ema_decay = 0.5}, g);
  b.step({.ema_decay = 0.5}, g.to(DType::f32));
  EXPECT_EQ(a.p.to_vector(), b.p.to_vector());
}

TEST_P(AdamTest, IsTheSameForAnyThreadCount) {
  const int threads = kernels::thread_count();
  std::vector<std::vector<double>> results;
  for (int count : {1, 2, 3}) {
    kernels::set_thread_count(count);
    Model model(50001, DType::f32);
    model.step({.weight_decay = 0.1, .ema_decay = 0.99}, random_tensor({50001}, DType::f32, 2));
    results.push_back(model.p.to_vector());
    results.push_back(model.ema.to_vector());
  }
  kernels::set_thread_count(threads);
  EXPECT_EQ(results[0], results[2]);
  EXPECT_EQ(results[0], results[4]);
  EXPECT_EQ(results[1], results[3]);
}

TEST_P(AdamTest, SquareSumIsExactEnoughAndTheSameForAnyThreadCount) {
  const int threads = kernels::thread_count();
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (int64_t n : {0, 1, 19, 16384, 50021}) {
      const Tensor x = random_tensor({n}, dtype, 4, 10);
      const Tensor workspace = Tensor::empty({kernels::square_sum_workspace_bytes(n)}, DType::u8);
      double expected = 0;
      for (double value : x.to_vector()) expected += value * value;
      kernels::set_thread_count(1);
      const double alone = kernels::square_sum(x.view(), workspace.view());
      kernels::set_thread_count(2);
      EXPECT_EQ(kernels::square_sum(x.view(), workspace.view()), alone);
      EXPECT_NEAR(alone, expected, 1e-6 * expected + 1e-300);
    }
  kernels::set_thread_count(threads);
}

TEST_P(AdamTest, AllFiniteFindsASingleBadElement) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (int64_t at : {int64_t{0}, int64_t{17}, int64_t{40000}})
      for (double bad : {static_cast<double>(INFINITY), -static_cast<double>(INFINITY), std::nan("")}) {
        Tensor x = random_tensor({40001}, dtype, 4, 1e30);
        EXPECT_TRUE(kernels::all_finite(x.view()));
        x.slice(0, at, at + 1).fill(bad);
        EXPECT_FALSE(kernels::all_finite(x.view())) << at << " " << bad;
      }
}

INSTANTIATE_TEST_SUITE_P(Isa, AdamTest, every_isa(), isa_test_name);

TEST(AdamErrors, NameTheArgument) {
  Model model(4, DType::f32);
  EXPECT_THROW(model.step({.ema_decay = 0.9}, random_tensor({5})), Error);
  EXPECT_THROW(model.step({.ema_decay = 0.9}, random_tensor({4}, DType::f64)), Error);
  EXPECT_THROW(model.step({.ema_decay = 2}, random_tensor({4})), Error);
  EXPECT_THROW(model.step({.step = 0, .ema_decay = 0.9}, random_tensor({4})), Error);
  EXPECT_THROW(model.step({.beta2 = 1, .ema_decay = 0.9}, random_tensor({4})), Error);
}

}  // namespace
}  // namespace tw
