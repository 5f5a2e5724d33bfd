// One CUDA grid at a time on the processor, block after block: each thread of a block is a fiber
// that runs until it meets a barrier. The kernels are the very ones that nvcc compiles; what is
// replaced is the language's environment only.
//
// A barrier that not all of its threads reach, a shuffle from a lane that does not take part, and a
// launch that the hardware would refuse are errors. A warpgroup runs as far as it gets before the
// next one does, and every second grid runs all in reverse order, so that a missing barrier shows
// in one result or the other. Blocks that wait for one another can be run side by side
// (simt_schedule), where their shared memory is dynamic: what kernels declare exists once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

// Runs body() once for each thread of each block; std::logic_error where a barrier is not kept.
void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
// Ends the thread that calls, and with it run(), which throws the error.
[[noreturn]] void leave(std::string error);

// The block's memory of shared_bytes, whose bytes are all ones when it begins.
struct Shared {
  std::byte* data;
  std::size_t size;
};
Shared dynamic_shared();

// Waits for all threads of the block.
void block_barrier();
// Lets other blocks run: what the calling thread waits for is theirs to write.
void yield_to_blocks();
// Hands `bits` to the lanes of the warp that `mask` names and returns those of `lane`.
std::uint64_t from_lane(unsigned mask, std::uint64_t bits, unsigned lane);
// A bit for each lane of `mask` whose predicate holds.
unsigned ballot(unsigned mask, bool predicate);
unsigned lane_of_this_thread();
unsigned thread_of_block();
// How many blocks have begun: what was kept for another block is out of date.
std::uint64_t blocks_begun();
std::string place_of_thread(unsigned thread);
// Waits for all threads of the warpgroup: 128, from a multiple of them on.
constexpr unsigned kWarpgroup = 128;
void warpgroup_barrier();

// What makes the host wait for the device, counted: tests/device_waits.py reads how often.
enum class Waiting { kSynchronization, kCopyToHost };
void note(Waiting what);

// For instructions of a whole warp: hands over up to kHanded words of each lane, so that
// handed(lane) reads any lane's until release() is called by all.
constexpr int kHanded = 9;
void hand_over(const std::uint32_t* words, int count);
const std::uint32_t* handed(unsigned lane);
void release_handed();

}  // namespace simt
