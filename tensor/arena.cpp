#include "tensor/arena.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "tensor/allocation_label.h"
#include "tensor/error.h"
#include "tensor/pool.h"

namespace tw {
namespace {

constexpr size_t alignment = 64;

size_t padded(size_t bytes) {
  return std::max<size_t>((bytes + alignment - 1) / alignment * alignment, alignment);
}

bool overlap_in_time(const PlanRow& a, const PlanRow& b) { return a.first < b.last && b.first < a.last; }

std::string describe(const PlanRow& row, size_t index) {
  return detail::join("allocation ", index, row.name.empty() ? "" : " '" + row.name + "'", " ", row.shape,
                      " of ", row.bytes, " bytes");
}

size_t most_alive(const std::vector<PlanRow>& rows) {
  std::vector<int64_t> change(rows.size() + 1);
  for (const PlanRow& row : rows) {
    if (row.outlives) continue;
    change[static_cast<size_t>(row.first)] += static_cast<int64_t>(padded(row.bytes));
    change[static_cast<size_t>(row.last)] -= static_cast<int64_t>(padded(row.bytes));
  }
  int64_t alive = 0, most = 0;
  for (int64_t delta : change) most = std::max(most, alive += delta);
  return static_cast<size_t>(most);
}

// For each row the rows whose memory it takes over: those must be released before it is handed out.
std::vector<std::vector<int>> takeovers(const std::vector<PlanRow>& rows) {
  struct Piece {
    size_t begin, end;
    int owner;
  };
  std::vector<Piece> pieces;  // the latest owner of each part of the arena
  std::vector<std::vector<int>> before(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].outlives) continue;
    const size_t begin = rows[i].offset, end = begin + padded(rows[i].bytes);
    std::vector<Piece> next{{begin, end, static_cast<int>(i)}};
    for (const Piece& piece : pieces) {
      if (piece.end <= begin || piece.begin >= end) {
        next.push_back(piece);
        continue;
      }
      before[i].push_back(piece.owner);
      if (piece.begin < begin) next.push_back({piece.begin, begin, piece.owner});
      if (piece.end > end) next.push_back({end, piece.end, piece.owner});
    }
    std::sort(before[i].begin(), before[i].end());
    before[i].erase(std::unique(before[i].begin(), before[i].end()), before[i].end());
    pieces = std::move(next);
  }
  return before;
}

}  // namespace

size_t plan_offsets(std::vector<PlanRow>& rows) {
  std::vector<size_t> order;
  for (size_t i = 0; i < rows.size(); ++i)
    if (!rows[i].outlives) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rows[a].bytes > rows[b].bytes; });
  std::vector<size_t> placed;  // by offset
  size_t arena = 0;
  for (size_t i : order) {
    const size_t bytes = padded(rows[i].bytes);
    size_t best_gap = SIZE_MAX, best = 0, end = 0;  // end: of the rows passed so far
    for (size_t j : placed) {
      if (!overlap_in_time(rows[i], rows[j])) continue;
      if (rows[j].offset > end && rows[j].offset - end >= bytes && rows[j].offset - end < best_gap) {
        best_gap = rows[j].offset - end;
        best = end;
      }
      end = std::max(end, rows[j].offset + padded(rows[j].bytes));
    }
    rows[i].offset = best_gap == SIZE_MAX ? end : best;
    arena = std::max(arena, rows[i].offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), rows[i].offset,
                                   [&](size_t offset, size_t j) { return offset < rows[j].offset; }),
                  i);
  }
  return arena;
}

struct PlannedArena::State {
  enum class Mode { outside, recording, replaying };

  std::shared_ptr<Allocator> below;
  mutable std::mutex mutex;
  Mode mode = Mode::outside;
  bool planned = false;
  std::vector<PlanRow> rows;
  std::unordered_map<void*, size_t> recorded;  // live blocks of the step being recorded
  std::vector<std::vector<int>> before;
  std::unordered_map<size_t, std::vector<size_t>> rows_at;  // offset -> rows
  std::vector<bool> alive;
  size_t alive_count = 0;
  char* base = nullptr;
  size_t arena = 0;
  size_t next = 0;  // the number of the next allocation of a replayed step

  bool inside(const void* pointer) const { return base && pointer >= base && pointer < base + arena; }

  void finish_recording() {
    for (const auto& [pointer, row] : recorded) rows[row].outlives = true;
    recorded.clear();
    arena = plan_offsets(rows);
    before = takeovers(rows);
    rows_at.clear();
    for (size_t i = 0; i < rows.size(); ++i)
      if (!rows[i].outlives) rows_at[rows[i].offset].push_back(i);
    alive.assign(rows.size(), false);
    planned = true;
  }

  void* record(size_t bytes) {
    void* pointer = below->allocate(bytes);
    PlanRow row;
    row.name = current_allocation_name();
    if (const AllocatedTensor* tensor = current_allocated_tensor()) {
      row.shape = tensor->shape();
      row.dtype = tensor->dtype();
    }
    row.bytes = bytes;
    row.first = row.last = static_cast<int>(rows.size());
    recorded[pointer] = rows.size();
    rows.push_back(row);
    return pointer;
  }

  // Descriptions are strings: they are made where something is wrong only (they were 60 % of a small op).
  void* replay(size_t bytes) {
    if (next >= rows.size())
      fail("planned arena", "the step asks for more than the ", rows.size(),
           " allocations of the recorded step: ", bytes, " bytes", describe_current_allocation());
    const PlanRow& row = rows[next];
    if (row.bytes != bytes)
      fail("planned arena", "the recorded step made ", describe(row, next), " where this step asks for ",
           bytes, " bytes", describe_current_allocation());
    void* pointer = nullptr;
    if (row.outlives) {
      pointer = below->allocate(bytes);
    } else {
      for (int earlier : before[next])
        if (alive[static_cast<size_t>(earlier)])
          fail("planned arena", describe(rows[static_cast<size_t>(earlier)], static_cast<size_t>(earlier)),
               " is still alive, the plan gives its memory to ", describe(row, next));
      if (alive[next]) fail("planned arena", describe(row, next), " of the step before is still alive");
      alive[next] = true;
      ++alive_count;
      pointer = base + row.offset;
    }
    ++next;
    return pointer;
  }
};

PlannedArena::PlannedArena(std::shared_ptr<Allocator> below) : state_(std::make_unique<State>()) {
  state_->below = below ? std::move(below) : system_allocator();
}

std::shared_ptr<PlannedArena> PlannedArena::on(Device device) {
  return std::make_shared<PlannedArena>(lasting_allocator(device));
}

PlannedArena::~PlannedArena() {
  if (state_->base) state_->below->release(state_->base, state_->arena);
}

void PlannedArena::begin_step() {
  std::lock_guard lock(state_->mutex);
  State& state = *state_;
  check(state.mode == State::Mode::outside, "planned arena", "begin_step() within a step");
  if (!state.planned) {
    state.rows.clear();
    state.mode = State::Mode::recording;
    return;
  }
  if (!state.base && state.arena > 0) {
    // The blocks of the recorded step lie in the cache below; without trim both would be held.
    state.below->trim();
    const AllocationName name("the memory plan of a step");
    state.base = static_cast<char*>(state.below->allocate(state.arena));
  }
  state.next = 0;
  state.mode = State::Mode::replaying;
}

void PlannedArena::end_step() {
  std::lock_guard lock(state_->mutex);
  State& state = *state_;
  check(state.mode != State::Mode::outside, "planned arena", "end_step() without begin_step()");
  const State::Mode mode = std::exchange(state.mode, State::Mode::outside);
  if (mode == State::Mode::recording) return state.finish_recording();
  check(state.next == state.rows.size(), "planned arena", "the step ended after ", state.next,
        " allocations, the recorded one made ", state.rows.size(), "; the next would have been ",
        state.next < state.rows.size() ? describe(state.rows[state.next], state.next) : "none");
  if (state.alive_count == 0) return;
  const size_t first =
      static_cast<size_t>(std::find(state.alive.begin(), state.alive.end(), true) - state.alive.begin());
  fail("planned arena", describe(state.rows[first], first),
       " is alive at the end of the step, the recorded step had released it");
}

void PlannedArena::cancel_step() noexcept {
  std::lock_guard lock(state_->mutex);
  if (state_->mode == State::Mode::recording) state_->recorded.clear();
  state_->mode = State::Mode::outside;
}

void PlannedArena::reset() {
  std::lock_guard lock(state_->mutex);
  State& state = *state_;
  check(state.mode == State::Mode::outside, "planned arena", "reset() within a step");
  check(state.alive_count == 0, "planned arena", "reset() while ", state.alive_count,
        " planned tensors are alive");
  if (state.base) state.below->release(state.base, state.arena);
  state.base = nullptr;
  state.arena = 0;
  state.planned = false;
  state.rows.clear();
}

void* PlannedArena::allocate(size_t bytes) {
  std::lock_guard lock(state_->mutex);
  switch (state_->mode) {
    case State::Mode::recording:
      return state_->record(bytes);
    case State::Mode::replaying:
      return state_->replay(bytes);
    case State::Mode::outside:
      break;
  }
  return state_->below->allocate(bytes);
}

void PlannedArena::release(void* pointer, size_t bytes) noexcept {
  std::lock_guard lock(state_->mutex);
  State& state = *state_;
  if (state.inside(pointer)) {
    // At most one of the rows that share an offset is alive.
    for (size_t row : state.rows_at[static_cast<size_t>(static_cast<char*>(pointer) - state.base)]) {
      if (!state.alive[row]) continue;
      state.alive[row] = false;
      --state.alive_count;
      break;
    }
    return;
  }
  if (state.mode == State::Mode::recording) {
    const auto found = state.recorded.find(pointer);
    if (found != state.recorded.end()) {
      state.rows[found->second].last = static_cast<int>(state.rows.size());
      state.recorded.erase(found);
    }
  }
  state.below->release(pointer, bytes);
}

void PlannedLoop::step(const std::function<bool()>& body) {
  if (first_) {
    const AllocatorScope unplanned(system_allocator());
    if (body()) first_ = false;
    return;
  }
  const AllocatorScope allocator(arena_);
  PlannedStep planned(*arena_);
  if (body()) planned.finish();
}

Device PlannedArena::device() const { return state_->below->device(); }
bool PlannedArena::planned() const { return state_->planned; }
const std::vector<PlanRow>& PlannedArena::plan() const { return state_->rows; }
size_t PlannedArena::arena_bytes() const { return state_->arena; }
size_t PlannedArena::lower_bound_bytes() const { return most_alive(state_->rows); }
size_t PlannedArena::sum_bytes() const {
  return std::accumulate(
      state_->rows.begin(), state_->rows.end(), size_t{0},
      [](size_t sum, const PlanRow& row) { return sum + (row.outlives ? 0 : padded(row.bytes)); });
}

std::string PlannedArena::plan_table() const {
  size_t width = 4;
  for (const PlanRow& row : state_->rows) width = std::max(width, row.name.size());
  std::string text;
  char line[256];
  const auto add = [&](const std::string& name, const std::string& rest) {
    text += name + std::string(width - std::min(width, name.size()), ' ') + rest + "\n";
  };
  std::snprintf(line, sizeof line, "  %-24s %-5s %12s %12s %6s %6s", "shape", "dtype", "bytes", "offset",
                "first", "last");
  add("name", line);
  for (const PlanRow& row : state_->rows) {
    const std::string offset = row.outlives ? "outlives" : std::to_string(row.offset);
    std::snprintf(line, sizeof line, "  %-24s %-5s %12zu %12s %6d %6d", row.shape.str().c_str(),
                  dtype_name(row.dtype), row.bytes, offset.c_str(), row.first, row.last);
    add(row.name, line);
  }
  std::snprintf(
      line, sizeof line, "arena %.2f MiB, lower bound %.2f MiB, sum of all %.2f MiB (%zu allocations)\n",
      static_cast<double>(arena_bytes()) / 0x1p20, static_cast<double>(lower_bound_bytes()) / 0x1p20,
      static_cast<double>(sum_bytes()) / 0x1p20, state_->rows.size());
  return text + line;
}

}  // namespace tw
