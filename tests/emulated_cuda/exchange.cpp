// What the threads of a block ask of it and hand to one another.
#include <algorithm>

#include "block.h"

namespace simt {

Shared dynamic_shared() { return block().shared; }

void block_barrier() { wait(Wait::kBlock, 0); }
void warpgroup_barrier() { wait(Wait::kGroup, 0); }
void yield_to_blocks() { wait(Wait::kOtherBlocks, 0); }

unsigned thread_of_block() { return block().running; }
unsigned lane_of_this_thread() { return block().running % kWarp; }

std::uint64_t from_lane(unsigned mask, std::uint64_t bits, unsigned lane) {
  Block& b = block();
  const unsigned first = b.running / kWarp * kWarp;
  b.handed[b.running] = bits;
  wait(Wait::kLanes, mask);
  if ((mask >> lane & 1) == 0) {
    leave("a shuffle of " + place_of_thread(b.running) + " reads lane " + std::to_string(lane) +
          ", which takes no part");
  }
  const std::uint64_t found = b.handed[first + lane];
  wait(Wait::kLanes, mask);
  return found;
}

void hand_over(const std::uint32_t* words, int count) {
  std::copy(words, words + count, block().words[block().running].begin());
  wait(Wait::kLanes, ~0u);
}

const std::uint32_t* handed(unsigned lane) {
  return block().words[block().running / kWarp * kWarp + lane].data();
}

void release_handed() { wait(Wait::kLanes, ~0u); }

unsigned ballot(unsigned mask, bool predicate) {
  Block& b = block();
  const unsigned first = b.running / kWarp * kWarp;
  b.handed[b.running] = predicate ? 1 : 0;
  wait(Wait::kLanes, mask);
  unsigned found = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1) found |= static_cast<unsigned>(b.handed[first + lane]) << lane;
  }
  wait(Wait::kLanes, mask);
  return found;
}

}  // namespace simt
