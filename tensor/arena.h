// PlannedArena: the memory of a loop whose steps all make the same allocations.
//
// The first step is recorded: each allocation is an interval [allocated, released). A planner then gives each
// interval an offset so that intervals which overlap in time do not overlap in memory, and later steps
// replay: allocation number i is base + offset[i], with no search, no system call and the same address in
// every step.
//
//   auto arena = std::make_shared<PlannedArena>();
//   AllocatorScope scope(arena);
//   for (...) {
//     PlannedStep step(*arena);
//     x = denoise(x);   // x outlives the step: it is kept out of the plan
//     step.finish();
//   }
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace tw {

// One allocation of a step. first and last count the allocations of the step: row i is allocated as number i,
// and its memory is free again from number `last` on (last is the number of rows if it is released after them
// all).
struct PlanRow {
  std::string name;  // of the AllocationName scopes, may be empty
  Shape shape;       // of the tensor it was made for
  DType dtype = DType::u8;
  size_t bytes = 0;  // as asked for
  size_t offset = 0;
  int first = 0, last = 0;
  bool outlives = false;  // released after its step: kept out of the plan, from the allocator below
};

// Offsets for intervals, in place: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
// Inference", 2020, "greedy by size": largest first, each into the smallest gap that holds it. Returns the
// size of the arena.
size_t plan_offsets(std::vector<PlanRow>& rows);

class PlannedArena : public Allocator {
 public:
  // Recorded steps, what outlives its step, and the arena itself come from `below`.
  // (A pool below would keep the blocks of the recorded step beside the arena.)
  explicit PlannedArena(std::shared_ptr<Allocator> below = nullptr /* the system */);
  // Over lasting_allocator(device).
  static std::shared_ptr<PlannedArena> on(Device device);
  ~PlannedArena() override;

  void begin_step();
  // Throws Error naming the allocation when the step made fewer allocations than the recorded one, or when
  // one that the plan releases is still alive. The next step may still be replayed once that tensor is gone.
  void end_step();
  void cancel_step() noexcept;  // ends a step without judging it, after an exception
  void reset();  // forgets the plan: the next step is recorded. Throws if planned tensors are alive

  // Outside of a step they pass through to the allocator below. In a replayed step allocate throws Error when
  // the allocation differs from the recorded one in its number or size, or when its memory is still in use.
  void* allocate(size_t bytes) override;
  void release(void* pointer, size_t bytes) noexcept override;
  Device device() const override;

  bool planned() const;  // a step has been recorded
  const std::vector<PlanRow>& plan() const;
  size_t arena_bytes() const;        // the memory of all planned allocations
  size_t sum_bytes() const;          // what they would take without reuse
  size_t lower_bound_bytes() const;  // the most that is alive at once: no plan can be smaller
  std::string plan_table() const;    // the rows as text, with arena against sum

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The memory of a loop, step after step. The first step fills caches, such as packed weights: its memory
// comes from the system, which holds no more than what is alive at once. The second is recorded, later ones
// are replayed.
class PlannedLoop {
 public:
  explicit PlannedLoop(std::shared_ptr<PlannedArena> arena = std::make_shared<PlannedArena>())
      : arena_(std::move(arena)) {}
  // Runs `body` with the calling thread's tensors in the arena. If it returns false, the step was cut short:
  // it is not compared with the recorded one, or is not the recorded one.
  void step(const std::function<bool()>& body);
  const PlannedArena& arena() const { return *arena_; }

 private:
  std::shared_ptr<PlannedArena> arena_;
  bool first_ = true;
};

// A step that is cancelled when an exception leaves it.
class PlannedStep {
 public:
  explicit PlannedStep(PlannedArena& arena) : arena_(&arena) { arena.begin_step(); }
  ~PlannedStep() {
    if (arena_) arena_->cancel_step();
  }
  PlannedStep(const PlannedStep&) = delete;
  PlannedStep& operator=(const PlannedStep&) = delete;
  void finish() {
    PlannedArena* arena = arena_;
    arena_ = nullptr;
    arena->end_step();
  }

 private:
  PlannedArena* arena_;
};

}  // namespace tw
