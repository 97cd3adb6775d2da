#include "tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "tensor/error.h"
#include "tensor/pool.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using testing::HasSubstr;

Tensor counting(const Shape& shape, DType dtype = DType::f32) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0);
  return Tensor::from(values, shape).to(dtype);
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ShapeTest, ExtentsAndErrors) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.dim(-1), 4);
  EXPECT_EQ(shape.dim(0), 2);
  EXPECT_EQ(shape.with(-2, 7), (Shape{2, 7, 4}));
  EXPECT_EQ(shape.str(), "(2, 3, 4)");
  EXPECT_EQ(Shape{}.str(), "()");
  EXPECT_EQ((Shape{5}).str(), "(5,)");
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_THROW(shape.dim(3), Error);
  EXPECT_THROW(shape.dim(-4), Error);
  EXPECT_THROW((Shape{-1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_THROW((Shape{int64_t{1} << 40, int64_t{1} << 40}).numel(), Error);
  EXPECT_EQ((Shape{int64_t{1} << 40, int64_t{1} << 40, 0}).numel(), 0);
}

TEST(ShapeTest, BroadcastingFollowsNumPy) {
  EXPECT_EQ(broadcast_shapes("op", {2, 1, 4}, {3, 1}), (Shape{2, 3, 4}));
  EXPECT_EQ(broadcast_shapes("op", {}, {3}), (Shape{3}));
  EXPECT_EQ(broadcast_shapes("op", {0, 1}, {1, 5}), (Shape{0, 5}));
  EXPECT_THAT(error_of([] {
                broadcast_shapes("add", {2, 3}, {2, 4});
              }),
              HasSubstr("add: shapes (2, 3) and (2, 4)"));
}

TEST(TensorTest, UndefinedIsHarmless) {
  const Tensor none;
  EXPECT_FALSE(none.defined());
  EXPECT_EQ(none.numel(), 0);
  EXPECT_FALSE(none.view());
  EXPECT_THROW(none.data<float>(), Error);
  EXPECT_THROW(none.item(), Error);
}

TEST(TensorTest, DataChecksDtypeLayoutAndSize) {
  const Tensor tensor = counting({2, 3});
  EXPECT_EQ(tensor.data<float>()[5], 5);
  EXPECT_THROW(tensor.data<double>(), Error);
  EXPECT_THROW(tensor.permute({1, 0}).data<float>(), Error);
  EXPECT_THROW(Tensor::from(std::vector<float>{1, 2}, {3}), Error);
  EXPECT_THROW(tensor.item(), Error);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data<float>()) % 64, 0u);
}

TEST(TensorTest, ViewsShareTheirElements) {
  const Tensor tensor = counting({2, 3, 4});
  EXPECT_EQ(tensor.slice(1, 1, 3).to_vector(),
            (std::vector<double>{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(tensor.slice(-1, 3, 4).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(tensor.select(0, 1).select(-1, 2).to_vector(), (std::vector<double>{14, 18, 22}));
  EXPECT_EQ(tensor.permute({2, 0, 1}).to_vector(), tensor.permute({-1, -3, -2}).to_vector());
  EXPECT_EQ(tensor.permute({2, 0, 1}).slice(0, 1, 2).to_vector(), (std::vector<double>{1, 5, 9, 13, 17, 21}));
  EXPECT_EQ(tensor.unsqueeze(-1).shape(), (Shape{2, 3, 4, 1}));
  EXPECT_EQ(tensor.unsqueeze(0).shape(), (Shape{1, 2, 3, 4}));
  EXPECT_TRUE(tensor.unsqueeze(1).is_contiguous());
  EXPECT_EQ(tensor.select(0, 0).broadcast_to({2, 3, 4}).to_vector()[23], 11);
  Tensor part = tensor.slice(2, 1, 2);
  part.fill(-1);
  EXPECT_EQ(tensor.to_vector()[1], -1);
  EXPECT_EQ(tensor.to_vector()[0], 0);
  EXPECT_EQ(tensor.to_vector()[21], -1);
  EXPECT_EQ(tensor.reshape({6, 4}).storage(), tensor.storage());
  EXPECT_EQ(tensor.slice(0, 1, 1).to_vector().size(), 0u);
}

TEST(TensorTest, ViewsRefuseWhatDoesNotExist) {
  const Tensor tensor = counting({2, 3});
  EXPECT_THROW(tensor.slice(2, 0, 1), Error);
  EXPECT_THROW(tensor.slice(0, 1, 3), Error);
  EXPECT_THROW(tensor.slice(0, -1, 1), Error);
  EXPECT_THROW(tensor.select(0, 2), Error);
  EXPECT_THROW(tensor.permute({0, 0}), Error);
  EXPECT_THROW(tensor.permute({0}), Error);
  EXPECT_THROW(tensor.reshape({5}), Error);
  EXPECT_THROW(tensor.permute({1, 0}).reshape({6}), Error);
  EXPECT_THROW(tensor.broadcast_to({3, 3}), Error);
  EXPECT_THROW(tensor.unsqueeze(4), Error);
  EXPECT_THROW(Tensor::wrap(tensor.storage(), DType::f32, {7}, {1}), Error);
  EXPECT_THROW(Tensor::wrap(tensor.storage(), DType::f32, {2}, {int64_t{1} << 62}, 5), Error);
  EXPECT_THROW(Tensor::wrap(tensor.storage(), DType::f32, {6}, {1}, 1), Error);
  EXPECT_NO_THROW(Tensor::wrap(tensor.storage(), DType::f32, {3}, {2}, 1));
}

// Every pair of dtypes through every kind of view, against element by element arithmetic.
TEST(TensorTest, CopiesCastThroughAnyStrides) {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8};
  for (DType from : all)
    for (DType to : all) {
      const Tensor base = counting({4, 3, 5}, from);
      const std::vector<Tensor> views{base,
                                      base.permute({2, 0, 1}),
                                      base.slice(1, 1, 3),
                                      base.select(2, 1),
                                      base.slice(0, 1, 2).broadcast_to({2, 3, 5}),
                                      base.permute({1, 0, 2}).slice(2, 2, 5)};
      for (const Tensor& view : views) {
        const Tensor cast = view.to(to);
        EXPECT_EQ(cast.dtype(), to);
        EXPECT_EQ(cast.to_vector(), view.to_vector())
            << dtype_name(from) << " to " << dtype_name(to) << " " << view.shape();
        const Tensor room = Tensor::zeros({view.dim(-1), view.numel() / view.dim(-1)}, to);
        Tensor flat = view.clone().reshape({view.numel() / view.dim(-1), view.dim(-1)});
        Tensor target = room.permute({1, 0});
        target.copy_from(flat);
        EXPECT_EQ(target.to_vector(), flat.to_vector());
      }
    }
  EXPECT_THROW(counting({2}).copy_from(counting({3})), Error);
}

// Longer than the columns a transposed copy goes in, which are 64 to 8 elements wide, and no multiple of
// them.
TEST(TensorTest, TransposedCopiesGoInColumns) {
  const int64_t n = 131, h = 3, w = 5;
  std::vector<float> values;
  for (int64_t i = 0; i < n * h * w; ++i) values.push_back(static_cast<float>(i % 251));
  const Tensor base = Tensor::from(values, {n, h, w});
  for (const DType from : {DType::f32, DType::u8, DType::bf16})
    for (const DType to : {DType::f32, DType::u8, DType::f64}) {
      const Tensor turned = base.to(from).permute({2, 1, 0});
      Tensor room = Tensor::full({w, h, n + 2}, 7, to);
      room.slice(2, 1, n + 1).copy_from(turned);  // rows that begin beside a cache line
      const std::vector<double> found = room.to_vector();
      for (int64_t j = 0; j < w; ++j)
        for (int64_t i = 0; i < h; ++i)
          for (int64_t k = 0; k < n + 2; ++k) {
            const bool outside = k == 0 || k == n + 1;
            const double expected = outside ? 7 : values[static_cast<size_t>(((k - 1) * h + i) * w + j)];
            ASSERT_EQ(found[static_cast<size_t>((j * h + i) * (n + 2) + k)], expected)
                << dtype_name(from) << " to " << dtype_name(to) << " at " << j << ", " << i << ", " << k;
          }
    }
}

TEST(TensorTest, FillCountsVersions) {
  Tensor tensor = Tensor::empty({3, 4}, DType::bf16);
  const uint64_t before = tensor.version();
  tensor.fill(2.5);
  tensor.permute({1, 0}).slice(0, 0, 1).fill(1);
  EXPECT_GT(tensor.version(), before);
  EXPECT_EQ(tensor.to_vector(), (std::vector<double>{1, 2.5, 2.5, 2.5, 1, 2.5, 2.5, 2.5, 1, 2.5, 2.5, 2.5}));
  EXPECT_EQ(Tensor::full({}, 7, DType::i64).item(), 7);
}

TEST(Memory, LargeBlocksCanBeUsedToTheirLastByte) {
  for (const size_t bytes : {size_t{1}, (size_t{1} << 20) - 1, size_t{1} << 20, (size_t{1} << 20) + 1,
                             size_t{1} << 21, (size_t{5} << 20) + 4095}) {
    char* block = static_cast<char*>(system_allocator()->allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u) << bytes;
    std::fill(block, block + bytes, 'x');
    EXPECT_EQ(std::count(block, block + bytes, 'x'), static_cast<std::ptrdiff_t>(bytes));
    system_allocator()->release(block, bytes);
  }
}

// Whether every page of a block lies in memory, or -1 if a part of it is not mapped at all.
int resident(void* block, size_t bytes) {
  std::vector<unsigned char> pages((bytes + 4095) / 4096);
  if (::mincore(block, bytes, pages.data()) != 0) return -1;
  return std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }) ? 1 : 0;
}

TEST(Memory, TheSystemsLastBlocksAreUsedAgain) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "under the sanitizer blocks come from malloc";
#endif
  const auto system = system_allocator();
  system->trim();
  const size_t bytes = size_t{5} << 20;
  void* const first = system->allocate(bytes);
  std::memset(first, 1, bytes);
  system->release(first, bytes);
  EXPECT_EQ(resident(first, bytes), 1);
  void* const much_less = system->allocate(bytes / 2);
  EXPECT_NE(much_less, first);
  void* const little_less = system->allocate(bytes - 100'000);
  EXPECT_EQ(little_less, first);
  EXPECT_EQ(resident(first, bytes), -1);  // what was too much has gone back
  EXPECT_EQ(resident(first, bytes - 100'000), 1);
  system->release(much_less, bytes / 2);
  system->release(little_less, bytes - 100'000);
  system->trim();
  EXPECT_EQ(resident(first, bytes - 100'000), -1);
}

TEST(Memory, TheSystemKeepsNoMoreThan12MiB) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "under the sanitizer blocks come from malloc";
#endif
  const auto system = system_allocator();
  system->trim();
  const size_t bytes = size_t{6} << 20;
  std::vector<void*> blocks;
  for (int i = 0; i < 6; ++i) {
    blocks.push_back(system->allocate(bytes));
    std::memset(blocks.back(), 1, bytes);
  }
  for (void* block : blocks) system->release(block, bytes);
  for (size_t i = 0; i < blocks.size(); ++i) EXPECT_EQ(resident(blocks[i], bytes), i < 4 ? -1 : 1) << i;
  void* const huge = system->allocate(size_t{40} << 20);
  system->release(huge, size_t{40} << 20);
  EXPECT_EQ(resident(huge, size_t{40} << 20), -1);
  system->trim();
  for (void* block : blocks) EXPECT_EQ(resident(block, bytes), -1);
}

TEST(Memory, MovingToHugePagesChangesNoNumber) {
  const AllocatorScope scope(weight_allocator());
  const Tensor large = counting({3, 1 << 19}), view = large.slice(0, 1, 2), small = counting({5});
  const std::vector<double> before = large.to_vector();
  large.storage()->move_to_huge_pages();
  small.storage()->move_to_huge_pages();
  EXPECT_EQ(large.to_vector(), before);
  EXPECT_EQ(view.data<float>()[0], 1 << 19);
  EXPECT_EQ(small.to_vector(), (std::vector<double>{0, 1, 2, 3, 4}));
  large.storage()->discard();
  large.storage()->move_to_huge_pages();
}

TEST(Memory, DiscardedStorageKeepsItsShapeAndCannotBeRead) {
  const Tensor whole = Tensor::full({4, 6}, 2), part = whole.slice(0, 1, 2);
  whole.storage()->discard();
  whole.storage()->discard();
  EXPECT_EQ(part.shape(), (Shape{1, 6}));
  EXPECT_FALSE(part.view());
  EXPECT_THROW(part.data<float>(), Error);
  EXPECT_THROW(part.to_vector(), Error);
  EXPECT_THROW(whole.clone(), Error);
  EXPECT_THROW(Tensor::empty({4, 6}).copy_from(whole), Error);
}

TEST(Halves, AllF16ValuesRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    f16 half;
    half.bits = static_cast<uint16_t>(bits);
    const float value = static_cast<float>(half);
    const f16 back(value);
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(static_cast<float>(back)));
    else
      ASSERT_EQ(back.bits, half.bits) << bits;
  }
}

TEST(Halves, F16RoundsToNearestEven) {
  EXPECT_EQ(f16(1.0f + 0x1p-11f).bits, 0x3c00);      // half-way: to even
  EXPECT_EQ(f16(1.0f + 3 * 0x1p-11f).bits, 0x3c02);  // half-way: to even, upwards
  EXPECT_EQ(f16(1.0f + 0x1p-11f + 0x1p-20f).bits, 0x3c01);
  EXPECT_EQ(f16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(f16(65519.9f).bits, 0x7bff);
  EXPECT_EQ(f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(f16(-1e30f).bits, 0xfc00);
  EXPECT_EQ(f16(0x1p-24f).bits, 1);
  EXPECT_EQ(f16(0x1p-25f).bits, 0);  // half-way to the smallest: to even
  EXPECT_EQ(f16(1.5f * 0x1p-25f).bits, 1);
  EXPECT_EQ(f16(-0.0f).bits, 0x8000);
  EXPECT_EQ(f16(0x1.ff8p-15f).bits, 0x03ff);  // the largest subnormal
  EXPECT_EQ(f16(0x1.fffp-15f).bits, 0x0400);  // rounds up to a normal
}

TEST(Halves, Bf16RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.0f + 3 * 0x1p-8f).bits, 0x3f82);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3f81);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(bf16(-std::numeric_limits<float>::infinity()).bits, 0xff80);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::nanf("")))));
  EXPECT_TRUE(
      std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f800001u)))));  // payload in the low half
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    bf16 half;
    half.bits = static_cast<uint16_t>(bits);
    const float value = static_cast<float>(half);
    if (!std::isnan(value)) {
      ASSERT_EQ(bf16(value).bits, half.bits);
    }
  }
}

TEST(Memory, OutOfMemorySaysForWhat) {
  for (int64_t extent : {int64_t{1} << 48, int64_t{1} << 58}) {
    const std::string message = error_of([&] { Tensor::empty({extent, 2}); });
    EXPECT_THAT(message, HasSubstr("out of memory"));
    EXPECT_THAT(message, HasSubstr(std::to_string(extent)));
  }
  EXPECT_THAT(error_of([] { Tensor::empty({int64_t{1} << 62}); }), HasSubstr("too large"));
  try {
    Tensor::empty({int64_t{1} << 50});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
  }
}

// Holds no more than `limit` bytes at a time.
class SmallAllocator : public Allocator {
 public:
  explicit SmallAllocator(size_t limit) : limit_(limit) {}
  void* allocate(size_t bytes) override {
    if (used_ + bytes > limit_) throw Error(ErrorKind::memory, "full");
    used_ += bytes;
    return system_allocator()->allocate(bytes);
  }
  void release(void* pointer, size_t bytes) noexcept override {
    used_ -= bytes;
    system_allocator()->release(pointer, bytes);
  }
  size_t used_ = 0;

 private:
  size_t limit_;
};

TEST(PoolTest, ReusesAndCounts) {
  const auto pool = std::make_shared<Pool>(system_allocator());
  AllocatorScope scope(pool);
  void* first = nullptr;
  {
    const Tensor tensor = Tensor::empty({1000});
    first = tensor.storage()->data();
    EXPECT_GE(pool->statistics().in_use, 4000u);
  }
  EXPECT_EQ(pool->statistics().in_use, 0u);
  EXPECT_GE(pool->statistics().cached, 4000u);
  EXPECT_EQ(Tensor::empty({1000}).storage()->data(), first);
  EXPECT_LE(pool->statistics().peak_in_use, 5000u);
  pool->trim();
  EXPECT_EQ(pool->statistics().cached, 0u);
}

TEST(PoolTest, GivesItsCacheBackBeforeItGivesUp) {
  const auto small = std::make_shared<SmallAllocator>(11'000);
  const auto pool = std::make_shared<Pool>(small);
  pool->release(pool->allocate(6000), 6000);
  void* other = pool->allocate(9000);  // only fits once the 6000 are given back
  EXPECT_EQ(pool->statistics().cached, 0u);
  EXPECT_THROW(pool->allocate(9000), Error);
  pool->release(other, 9000);
  pool->trim();
  EXPECT_EQ(small->used_, 0u);
}

TEST(PoolTest, SizeClassesWasteAtMostAQuarter) {
  const auto small = std::make_shared<SmallAllocator>(size_t{1} << 40);
  for (size_t bytes = 257; bytes < 5'000'000; bytes = bytes * 9 / 8) {
    Pool pool(small);
    void* block = pool.allocate(bytes);
    EXPECT_GE(small->used_, bytes);
    EXPECT_LE(small->used_, bytes + bytes / 4 + 64);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    pool.release(block, bytes);
  }
}

}  // namespace
}  // namespace tw
