// The block that runs, for what its threads do with one another (exchange.cpp).
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

enum class Wait { kNothing, kBlock, kGroup, kLanes, kEnd };

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
  unsigned size = 0, running = 0;
  Shared shared{};
  std::uint64_t begun = 0;
  bool is_reversed = true;
  std::string error;  // of a fiber, which cannot throw past its end
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_size = 0;
};

Block& block();

// Lets others run until what the calling thread waits for has come about.
void wait(Wait what, unsigned mask);

}  // namespace simt
