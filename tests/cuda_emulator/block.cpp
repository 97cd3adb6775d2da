#include "tests/cuda_emulator/block.h"

#include <ucontext.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace emulator {
namespace {

constexpr size_t stack_bytes = size_t{256} << 10;

// A stack and where it was left. Its function, work(), runs threads of the block until none is left.
struct Fiber {
  std::unique_ptr<char[]> stack{new char[stack_bytes]};
  ucontext_t begin;
  jmp_buf left;
};

enum class State { waiting_block, waiting_warp, ready, done };

struct Thread {
  State state = State::ready;
  Fiber* fiber = nullptr;  // where it waits
  int exchanges = 0;       // parity of its warp's exchange buffer
};

struct Grid {
  Coordinates at;
  const std::function<void()>* body = nullptr;
  std::vector<Thread> threads;
  size_t begun = 0, running = 0;
  bool descending = false;
  std::vector<uint64_t> words;  // (warps, 2, 32)
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  Fiber* active = nullptr;  // the fiber that runs
  jmp_buf main;
};

Grid grid;

// Thread i of the block in the order of its coordinates.
void set_thread(size_t i) {
  const unsigned x = grid.at.block_size.x, y = grid.at.block_size.y, n = static_cast<unsigned>(i);
  grid.running = i;
  grid.at.thread = {n % x, n / x % y, n / x / y};
}

void work();
void enter() { work(); }

[[noreturn]] void go_to(Fiber* fiber) {
  grid.active = fiber;
  _longjmp(fiber->left, 1);
}

// A fiber that stands at the top of work(). Only its first run needs a context.
[[noreturn]] void go_to_fresh() {
  if (!grid.idle.empty()) {
    Fiber* fiber = grid.idle.back();
    grid.idle.pop_back();
    go_to(fiber);
  }
  Fiber* fiber = grid.fibers.emplace_back(std::make_unique<Fiber>()).get();
  getcontext(&fiber->begin);
  fiber->begin.uc_stack.ss_sp = fiber->stack.get();
  fiber->begin.uc_stack.ss_size = stack_bytes;
  fiber->begin.uc_link = nullptr;
  makecontext(&fiber->begin, enter, 0);
  grid.active = fiber;
  setcontext(&fiber->begin);
  std::abort();
}

// The threads from `first` to `last` wait at `state` or are done: lets them go on.
bool release(size_t first, size_t last, State state) {
  bool some = false;
  for (size_t i = first; i < last; ++i) {
    if (grid.threads[i].state == State::done) continue;
    if (grid.threads[i].state != state) return false;
    some = true;
  }
  for (size_t i = first; some && i < last; ++i)
    if (grid.threads[i].state == state) grid.threads[i].state = State::ready;
  return some;
}

// Leaves the running fiber for the next thread, or for run() when all are done.
[[noreturn]] void go_on() {
  const size_t count = grid.threads.size();
  if (grid.begun < count) go_to_fresh();
  for (int attempt = 0; attempt < 2; ++attempt) {
    bool left = false;
    for (size_t k = 0; k < count; ++k) {
      const size_t i = grid.descending ? count - 1 - k : k;
      Thread& thread = grid.threads[i];
      left = left || thread.state != State::done;
      if (thread.state != State::ready) continue;
      set_thread(i);
      go_to(thread.fiber);
    }
    if (!left) _longjmp(grid.main, 1);
    grid.descending = !grid.descending;
    bool released = release(0, count, State::waiting_block);
    for (size_t first = 0; !released && first < count; first += 32)
      released = release(first, std::min(first + 32, count), State::waiting_warp) || released;
  }
  std::fprintf(stderr, "cuda_emulator: the threads of block (%u, %u, %u) wait at different barriers\n",
               grid.at.block.x, grid.at.block.y, grid.at.block.z);
  std::abort();
}

void work() {
  for (;;) {
    while (grid.begun < grid.threads.size()) {
      const size_t i = grid.begun++;
      set_thread(i);
      (*grid.body)();
      grid.threads[grid.running].state = State::done;
    }
    Fiber* self = grid.active;
    if (_setjmp(self->left) == 0) {
      grid.idle.push_back(self);
      go_on();
    }
  }
}

}  // namespace

const Coordinates& current() { return grid.at; }

int lane() { return static_cast<int>(grid.running % 32); }

uint64_t* exchange_buffer() {
  Thread& self = grid.threads[grid.running];
  self.exchanges ^= 1;
  return &grid.words[(grid.running / 32 * 2 + static_cast<size_t>(self.exchanges)) * 32];
}

void wait(Barrier barrier) {
  Thread& self = grid.threads[grid.running];
  self.state = barrier == Barrier::block ? State::waiting_block : State::waiting_warp;
  self.fiber = grid.active;
  if (_setjmp(self.fiber->left) == 0) go_on();
}

void run(dim3 grid_size, dim3 block, const std::function<void()>& body) {
  const size_t count = size_t{block.x} * block.y * block.z;
  grid.body = &body;
  grid.at.block_size = block;
  grid.at.grid_size = grid_size;
  grid.words.assign((count + 31) / 32 * 64, 0);
  for (unsigned z = 0; z < grid_size.z; ++z)
    for (unsigned y = 0; y < grid_size.y; ++y)
      for (unsigned x = 0; x < grid_size.x; ++x) {
        grid.at.block = {x, y, z};
        grid.threads.assign(count, {});
        grid.begun = 0;
        if (_setjmp(grid.main) == 0) go_to_fresh();
      }
}

void launch(dim3 grid_size, dim3 block, cudaStream_t stream, std::function<void()> body) {
  enqueue(stream, [=, body = std::move(body)] { run(grid_size, block, body); });
}

}  // namespace emulator
