#include "tensor/arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tensor/allocation_label.h"
#include "tensor/error.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

using testing::HasSubstr;

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Counts what reaches the system.
class CountingAllocator : public Allocator {
 public:
  void* allocate(size_t bytes) override {
    ++allocations;
    return system_allocator()->allocate(bytes);
  }
  void release(void* pointer, size_t bytes) noexcept override {
    ++releases;
    system_allocator()->release(pointer, bytes);
  }
  int allocations = 0, releases = 0;
};

// Refuses everything once it is full.
class FullAllocator : public CountingAllocator {
 public:
  void* allocate(size_t bytes) override {
    if (full) fail("out of memory", bytes, " bytes asked for a tensor", describe_current_allocation());
    return CountingAllocator::allocate(bytes);
  }
  bool full = false;
};

TEST(PlannedArenaTest, SaysWhatThePlanNeedsWhenThereIsNoMemoryForIt) {
  const auto below = std::make_shared<FullAllocator>();
  const auto arena = std::make_shared<PlannedArena>(below);
  const auto step = [&] {
    const AllocatorScope scope(arena);
    arena->begin_step();
    { const Tensor one = Tensor::empty({1000}), two = Tensor::empty({24}); }
    arena->end_step();
  };
  step();
  below->full = true;
  EXPECT_THAT(error_of(step), HasSubstr("4160 bytes asked for a tensor in 'the memory plan of a step'"));
  below->full = false;
  step();
}

TEST(PlanOffsets, NeverOverlapsAndIsNearTheLowerBound) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<PlanRow> rows(1 + random() % 40);
    const int n = static_cast<int>(rows.size());
    for (int i = 0; i < n; ++i) {
      rows[static_cast<size_t>(i)].bytes = 1 + random() % 5000;
      rows[static_cast<size_t>(i)].first = i;
      rows[static_cast<size_t>(i)].last = i + 1 + static_cast<int>(random() % static_cast<unsigned>(n - i));
      rows[static_cast<size_t>(i)].outlives = random() % 10 == 0;
    }
    const size_t arena = plan_offsets(rows);
    std::vector<size_t> alive(rows.size());
    for (const PlanRow& a : rows) {
      if (a.outlives) continue;
      EXPECT_EQ(a.offset % 64, 0u);
      EXPECT_LE(a.offset + a.bytes, arena);
      for (int t = a.first; t < a.last; ++t) alive[static_cast<size_t>(t)] += (a.bytes + 63) / 64 * 64;
      for (const PlanRow& b : rows) {
        if (&a == &b || b.outlives || a.first >= b.last || b.first >= a.last) continue;
        EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
      }
    }
    const size_t bound = *std::max_element(alive.begin(), alive.end());
    EXPECT_GE(arena, bound);
    EXPECT_LE(arena, bound + bound / 2) << "trial " << trial;
  }
}

class ArenaTest : public testing::Test {
 protected:
  // A chain a -> b -> c with one tensor that outlives the step, as in a sampling loop.
  Tensor step(const Tensor& x, int64_t n = 100) {
    const AllocationName block("block");
    Tensor a, b;
    {
      const AllocationName name("a");
      a = Tensor::empty({n, 10});
      a.fill(x.item() + 1);
    }
    {
      const AllocationName name("b");
      b = a.clone();
    }
    a = Tensor();
    const Tensor c = b.to(DType::f64);
    b = Tensor();
    Tensor next = Tensor::empty({});
    next.fill(c.to_vector()[7]);
    addresses_.push_back(c.storage()->data());
    return next;
  }
  std::shared_ptr<CountingAllocator> counter_ = std::make_shared<CountingAllocator>();
  std::shared_ptr<PlannedArena> arena_ = std::make_shared<PlannedArena>(counter_);
  std::vector<void*> addresses_;
};

TEST_F(ArenaTest, ReplaysAtFixedAddressesWithoutAllocating) {
  AllocatorScope scope(arena_);
  Tensor x = Tensor::zeros({});
  for (int i = 0; i < 5; ++i) {
    PlannedStep step_scope(*arena_);
    x = step(x);
    step_scope.finish();
    EXPECT_EQ(arena_->planned(), true);
    if (i == 1) counter_->allocations = 0;
  }
  EXPECT_EQ(x.item(), 5);
  EXPECT_EQ(counter_->allocations, 3);  // x of steps 2, 3 and 4: it outlives
  EXPECT_EQ(addresses_[1], addresses_[2]);
  EXPECT_EQ(addresses_[1], addresses_[4]);
}

TEST_F(ArenaTest, PlanRowsSayWhatWasAllocated) {
  AllocatorScope scope(arena_);
  Tensor x = Tensor::zeros({});
  arena_->begin_step();
  x = step(x);
  arena_->end_step();
  std::vector<PlanRow> rows = arena_->plan();
  std::erase_if(rows, [](const PlanRow& row) { return row.bytes < 1000; });  // scalars that fill() makes
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "block/a");
  EXPECT_EQ(rows[1].name, "block/b");
  EXPECT_EQ(rows[2].name, "block");
  EXPECT_EQ(rows[0].shape, (Shape{100, 10}));
  EXPECT_EQ(rows[2].dtype, DType::f64);
  EXPECT_EQ(rows[2].bytes, 8000u);
  // b overlaps a and c; c may lie where a was.
  EXPECT_LT(arena_->arena_bytes(), arena_->sum_bytes());
  EXPECT_GE(arena_->arena_bytes(), arena_->lower_bound_bytes());
  EXPECT_GE(arena_->lower_bound_bytes(), 12000u);
  EXPECT_EQ(std::count_if(arena_->plan().begin(), arena_->plan().end(),
                          [](const PlanRow& r) { return r.outlives; }),
            1);
  const std::string table = arena_->plan_table();
  EXPECT_THAT(table, HasSubstr("block/a"));
  EXPECT_THAT(table, HasSubstr("outlives"));
  EXPECT_THAT(table, HasSubstr("lower bound"));
}

TEST_F(ArenaTest, AnotherSizeIsNamed) {
  AllocatorScope scope(arena_);
  Tensor x = Tensor::zeros({});
  for (int i = 0; i < 2; ++i) {
    PlannedStep step_scope(*arena_);
    x = step(x);
    step_scope.finish();
  }
  const std::string message = error_of([&] {
    PlannedStep step_scope(*arena_);
    step(x, 101);
  });
  EXPECT_THAT(message, HasSubstr("allocation 0 'block/a' (100, 10) of 4000 bytes"));
  EXPECT_THAT(message, HasSubstr("4040 bytes (101, 10) f32 in 'block/a'"));
  // The plan is still good for the steps it was made for.
  PlannedStep step_scope(*arena_);
  x = step(x);
  step_scope.finish();
  EXPECT_EQ(x.item(), 3);
}

TEST_F(ArenaTest, MoreOrFewerAllocationsAreErrors) {
  AllocatorScope scope(arena_);
  const auto run = [&](int n) {
    PlannedStep step_scope(*arena_);
    for (int i = 0; i < n; ++i) Tensor::empty({4});
    step_scope.finish();
  };
  run(3);
  run(3);
  EXPECT_THAT(error_of([&] { run(4); }), HasSubstr("more than the 3 allocations"));
  EXPECT_THAT(error_of([&] { run(2); }), HasSubstr("ended after 2 allocations"));
  run(3);
}

TEST_F(ArenaTest, ATensorKeptTooLongIsNoticedBeforeItIsOverwritten) {
  AllocatorScope scope(arena_);
  Tensor kept;
  const auto run = [&](bool keep) {
    PlannedStep step_scope(*arena_);
    Tensor a = Tensor::full({64}, 1);
    if (keep) kept = a;
    a = Tensor();
    Tensor::empty({64});  // takes over the memory of a
    step_scope.finish();
  };
  run(false);
  run(false);
  EXPECT_THAT(error_of([&] { run(true); }), HasSubstr("still alive, the plan gives its memory to"));
  EXPECT_EQ(kept.to_vector(), std::vector<double>(64, 1));
  EXPECT_THROW(arena_->reset(), Error);
  kept = Tensor();
  run(false);
}

TEST_F(ArenaTest, ATensorAliveAtTheEndIsNamed) {
  AllocatorScope scope(arena_);
  Tensor kept;
  const auto run = [&](bool keep) {
    PlannedStep step_scope(*arena_);
    const Tensor a = Tensor::full({64}, 1);
    if (keep) kept = a;
    step_scope.finish();
  };
  // finish() comes before a's end, so that a itself outlives; record with a released.
  arena_->begin_step();
  Tensor::full({64}, 1);
  arena_->end_step();
  EXPECT_THAT(error_of([&] { run(true); }), HasSubstr("alive at the end of the step"));
}

TEST_F(ArenaTest, TensorsFromOutsideMayEndWithinAStep) {
  AllocatorScope scope(arena_);
  for (int i = 0; i < 4; ++i) {
    Tensor before = Tensor::empty({10});
    PlannedStep step_scope(*arena_);
    Tensor inside = Tensor::empty({10});
    before = Tensor();
    inside = Tensor();
    step_scope.finish();
  }
  EXPECT_EQ(arena_->plan().size(), 1u);
}

TEST_F(ArenaTest, MemoryGoesBack) {
  {
    AllocatorScope scope(arena_);
    Tensor x = Tensor::zeros({});
    for (int i = 0; i < 4; ++i) {
      PlannedStep step_scope(*arena_);
      x = step(x);
      step_scope.finish();
    }
    arena_->reset();
    EXPECT_FALSE(arena_->planned());
    for (int i = 0; i < 3; ++i) {
      PlannedStep step_scope(*arena_);
      x = step(x, 7);  // another size, another plan
      step_scope.finish();
    }
  }
  arena_.reset();
  EXPECT_EQ(counter_->allocations, counter_->releases);
}

TEST_F(ArenaTest, AnAbandonedRecordingStartsAnew) {
  AllocatorScope scope(arena_);
  try {
    PlannedStep step_scope(*arena_);
    Tensor::empty({3});
    fail("test", "an exception in the middle of a step");
  } catch (const Error&) {
  }
  EXPECT_FALSE(arena_->planned());
  Tensor x = Tensor::zeros({});
  for (int i = 0; i < 3; ++i) {
    PlannedStep step_scope(*arena_);
    x = step(x);
    step_scope.finish();
  }
  EXPECT_EQ(x.item(), 3);
}

TEST_F(ArenaTest, StepsDoNotNest) {
  EXPECT_THROW(arena_->end_step(), Error);
  arena_->begin_step();
  EXPECT_THROW(arena_->begin_step(), Error);
  EXPECT_THROW(arena_->reset(), Error);
  arena_->end_step();
  EXPECT_TRUE(arena_->plan().empty());
  arena_->begin_step();
  arena_->end_step();
}

TEST(PlannedLoop, PlansFromTheSecondStepOnAndForgivesAStepCutShort) {
  const auto below = std::make_shared<CountingAllocator>();
  PlannedLoop loop(std::make_shared<PlannedArena>(below));
  const void* address = nullptr;
  for (int step = 0; step < 7; ++step) {
    const int before = below->allocations;
    const bool cut = step == 1 || step == 4;  // the first in place of the recorded step
    loop.step([&] {
      const Tensor a = Tensor::empty({100});
      if (cut) return false;
      const Tensor b = Tensor::empty({50});
      if (step == 3) address = a.view().pointer;
      if (step > 3) {
        EXPECT_EQ(a.view().pointer, address) << "step " << step;
      }
      return true;
    });
    EXPECT_EQ(loop.arena().planned(), step >= 2) << "step " << step;
    if (step == 0 || step > 3) {
      EXPECT_EQ(below->allocations, before) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace tw
