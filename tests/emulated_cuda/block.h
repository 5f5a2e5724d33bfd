// The block that runs, for what its threads do with one another (exchange.cpp), and the blocks that
// are begun at once (schedule.cpp).
#pragma once

#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "simt.h"

namespace simt {

constexpr unsigned kWarp = 32, kMostThreads = 1024;

enum class Wait { kNothing, kBlock, kGroup, kLanes, kOtherBlocks, kEnd };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack;
  Wait wait = Wait::kNothing;
  unsigned mask = 0;  // of lanes, while it waits for a warp's
  dim3 index;
};

struct Block {
  std::array<Fiber, kMostThreads> fibers;
  std::array<std::uint64_t, kMostThreads> handed{};
  std::array<std::array<std::uint32_t, kHanded>, kMostThreads> words{};
  ucontext_t scheduler;
  const std::function<void()>* body = nullptr;
  dim3 index;
  unsigned size = 0, running = 0;
  Shared shared{};
  bool is_reversed = false;
  std::string error;  // of a fiber, which cannot throw past its end
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_size = 0;
};

Block& block();

// How far a block has come: past a barrier of all its threads, to where it needs other blocks, or
// to its end.
enum class Progress { kPassed, kNeedsOthers, kEnded };
void begin(Block& b);
Progress advance(Block& b);

// Runs a block for each index, blocks_at_once of them side by side; a block's shared memory has
// shared_bytes.
struct Launch {
  dim3 grid;
  unsigned threads;
  std::size_t shared_bytes;
  bool is_reversed;  // the order of threads
  const std::function<void()>* body;
};
void run_blocks(const Launch& launch);

// Lets others run until what the calling thread waits for has come about.
void wait(Wait what, unsigned mask);

}  // namespace simt
