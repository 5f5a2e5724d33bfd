// What kernels that look arrays over have to say: a word of bits, which the host reads once.
#pragma once

#include "launch.h"

namespace sparsecore::cuda {

enum Found : std::uint32_t { kInvalid = 1, kDescends = 2, kRepeats = 4, kLongRow = 8 };

// A bit is set where a thread of the warp has found something. All threads of the block come here.
__device__ __forceinline__ void report(std::uint32_t* word, Found bit, bool found) {
  if (!__any_sync(~0u, found) || threadIdx.x % 32 != 0) return;
  // Where many find it, few have to queue for the word.
  if ((*static_cast<volatile std::uint32_t*>(word) & bit) == 0) {
    atomicOr(word, static_cast<std::uint32_t>(bit));
  }
}

// Waits for the stream.
template <class T>
T read_back(const T* from, Stream stream) {
  T value{};
  check(cudaMemcpyAsync(&value, from, sizeof(T), cudaMemcpyDeviceToHost, stream), "reading back");
  check(cudaStreamSynchronize(stream), "reading back");
  return value;
}

inline std::uint32_t* nothing_found(Memory& memory, Stream stream) {
  auto* const word = memory.take_items<std::uint32_t>(1);
  check(cudaMemsetAsync(word, 0, sizeof(*word), stream), "clearing a word");
  return word;
}

// A thread an item, in blocks of this many.
constexpr int kItemThreads = 256;
inline Grid grid_of(std::int64_t items) {
  return {blocks_for(items, kItemThreads), 1, kItemThreads};
}
__device__ __forceinline__ std::int64_t item_of_thread() {
  return std::int64_t{blockIdx.x} * kItemThreads + static_cast<int>(threadIdx.x);
}

}  // namespace sparsecore::cuda
