// The threads of a block as fibers, and when each goes on. (When blocks do: schedule.cpp.)
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "block.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {
namespace {

constexpr std::size_t kStack = std::size_t{256} << 10;
Block* running_block = nullptr;
constexpr std::size_t kMostShared = std::size_t{227} << 10;  // of compute capability 9.0

// The address sanitizer is told of every change of stacks.
void before_switch([[maybe_unused]] void** fake, [[maybe_unused]] const void* bottom,
                   [[maybe_unused]] std::size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, bottom, size);
#endif
}
void after_switch([[maybe_unused]] void* fake, [[maybe_unused]] const void** bottom,
                  [[maybe_unused]] std::size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, bottom, size);
#endif
}

void to_scheduler() {
  Block& b = block();
  Fiber& fiber = b.fibers[b.running];
  void* fake = nullptr;
  before_switch(fiber.wait == Wait::kEnd ? nullptr : &fake, b.scheduler_stack,
                b.scheduler_stack_size);
  swapcontext(&fiber.context, &b.scheduler);
  after_switch(fake, &b.scheduler_stack, &b.scheduler_stack_size);
}

void fiber_main() {
  Block& b = block();
  after_switch(nullptr, &b.scheduler_stack, &b.scheduler_stack_size);
  (*b.body)();
  b.fibers[b.running].wait = Wait::kEnd;
  to_scheduler();
}

void resume(unsigned thread) {
  Block& b = block();
  b.running = thread;
  Fiber& fiber = b.fibers[thread];
  threadIdx = fiber.index;
  void* fake = nullptr;
  before_switch(&fake, fiber.stack.get(), kStack);
  swapcontext(&b.scheduler, &fiber.context);
  after_switch(fake, nullptr, nullptr);
}

// Lets go on the lanes of a warp that all wait for one another; returns whether any do.
bool release_lanes(unsigned first) {
  Block& b = block();
  bool released = false;
  for (unsigned t = first; t < b.size && t < first + kWarp; ++t) {
    if (b.fibers[t].wait != Wait::kLanes) continue;
    const unsigned mask = b.fibers[t].mask;
    bool all = true;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      const unsigned other = first + lane;
      if (other >= b.size || b.fibers[other].wait == Wait::kEnd) {
        throw std::logic_error("a warp barrier of " + place_of_thread(t) + " names lane " +
                               std::to_string(lane) + ", which has left");
      }
      all &= b.fibers[other].wait == Wait::kLanes && b.fibers[other].mask == mask;
    }
    if (!all) continue;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if (mask >> lane & 1) b.fibers[first + lane].wait = Wait::kNothing;
    }
    released = true;
  }
  return released;
}

// Lets go on threads that all wait for `what`, but for those that have ended where they may.
bool release_all(unsigned first, unsigned count, Wait what, bool may_end) {
  Fiber* const fibers = block().fibers.data() + first;
  const auto waits = [&](const Fiber& f) {
    return f.wait == what || (may_end && f.wait == Wait::kEnd);
  };
  bool released = false;
  if (!std::all_of(fibers, fibers + count, waits)) return released;
  for (unsigned t = 0; t < count; ++t) {
    if (fibers[t].wait != what) continue;
    fibers[t].wait = Wait::kNothing;
    released = true;
  }
  return released;
}

// Runs the threads of a warpgroup as far as they get without the block's others.
void run_warpgroup(unsigned first, unsigned count) {
  Block& b = block();
  for (bool released = true; released;) {
    for (unsigned i = 0; i < count; ++i) {
      const unsigned t = first + (b.is_reversed ? count - 1 - i : i);
      if (b.fibers[t].wait == Wait::kNothing) resume(t);
      if (!b.error.empty()) throw std::logic_error(std::exchange(b.error, {}));
    }
    released = count == kWarpgroup && release_all(first, count, Wait::kGroup, false);
    for (unsigned t = first; t < first + count; t += kWarp) released |= release_lanes(t);
  }
}

}  // namespace

void begin(Block& b) {
  std::fill_n(b.shared.data, b.shared.size, std::byte{0xff});
  for (unsigned t = 0; t < b.size; ++t) {
    Fiber& fiber = b.fibers[t];
    if (!fiber.stack) fiber.stack = std::make_unique<std::byte[]>(kStack);
    fiber.wait = Wait::kNothing;
    fiber.index = dim3(t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
}

Progress advance(Block& b) {
  running_block = &b;
  blockIdx = b.index;
  const auto fibers = std::span(b.fibers).first(b.size);
  for (Fiber& fiber : fibers) {
    if (fiber.wait == Wait::kOtherBlocks) fiber.wait = Wait::kNothing;
  }
  const unsigned groups = (b.size + kWarpgroup - 1) / kWarpgroup;
  for (unsigned i = 0; i < groups; ++i) {
    const unsigned first = (b.is_reversed ? groups - 1 - i : i) * kWarpgroup;
    run_warpgroup(first, std::min(kWarpgroup, b.size - first));
  }
  const auto some = [&](Wait what) {
    return std::any_of(fibers.begin(), fibers.end(),
                       [&](const Fiber& fiber) { return fiber.wait == what; });
  };
  if (release_all(0, b.size, Wait::kBlock, true)) return Progress::kPassed;
  if (some(Wait::kOtherBlocks)) return Progress::kNeedsOthers;
  if (some(Wait::kBlock) || some(Wait::kGroup) || some(Wait::kLanes)) {
    throw std::logic_error("threads wait for others that do not come: " + place_of_thread(0));
  }
  return Progress::kEnded;
}

Block& block() { return *running_block; }

void wait(Wait what, unsigned mask) {
  Block& b = block();
  b.fibers[b.running].wait = what;
  b.fibers[b.running].mask = mask;
  const dim3 index = threadIdx;
  to_scheduler();
  threadIdx = index;
}

[[noreturn]] void leave(std::string error) {
  block().error = std::move(error);
  block().fibers[block().running].wait = Wait::kEnd;
  to_scheduler();
  std::abort();  // nobody comes back
}

std::string place_of_thread(unsigned thread) {
  return "thread " + std::to_string(thread) + " of block (" + std::to_string(blockIdx.x) + ", " +
         std::to_string(blockIdx.y) + ")";
}

void run(dim3 grid, dim3 threads, std::size_t shared_bytes, const std::function<void()>& body) {
  const std::uint64_t size = std::uint64_t{threads.x} * threads.y * threads.z;
  if (size == 0 || size > kMostThreads || grid.x == 0 || grid.x > 0x7fffffffu || grid.y == 0 ||
      grid.y > 0xffffu || grid.z == 0 || grid.z > 0xffffu || shared_bytes > kMostShared) {
    throw std::logic_error("a launch of that grid would be refused");
  }
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  static bool is_reversed = true;
  is_reversed = !is_reversed;
  gridDim = grid;
  blockDim = threads;
  run_blocks({grid, static_cast<unsigned>(size), shared_bytes, is_reversed, &body});
}

}  // namespace simt
