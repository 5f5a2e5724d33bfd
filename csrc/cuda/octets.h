// Kernels that go through a matrix by octets: eight columns of a row, two groups of 2:4, which have
// one byte of metadata and four values.
#pragma once

#include "launch.h"
#include "scalars.h"

namespace sparsecore::cuda {

constexpr int kOctet = 8, kOctetValues = 4, kOctetThreads = 256;

// A block's threads as 2^shift along a row by the rest down the rows: no thread divides. Where
// there is enough for all that a device holds, each takes several steps of a row, as what it
// computes before the first costs as much as one.
struct OctetThreads {
  int shift = 0;
  std::int64_t across = 0;  // blocks along a row

  Grid grid(std::int64_t rows) const {
    constexpr std::int64_t kMost = 0xffff;  // blocks along y
    return {across == 0 ? 0 : blocks_for(rows, kOctetThreads >> shift),
            across < kMost ? across : kMost, kOctetThreads};
  }
};
inline OctetThreads threads_over(std::int64_t rows, std::int64_t steps) {
  constexpr std::int64_t kThreadsAtOnce = 132 * 2048, kMostSteps = 8;  // of an H200
  std::int64_t each = 1;
  while (each < kMostSteps && rows >= 2 * each * kThreadsAtOnce / (steps + 1)) each *= 2;
  OctetThreads threads;
  while ((1 << threads.shift) < kOctetThreads && (each << threads.shift) < steps) ++threads.shift;
  threads.across = blocks_for(steps, each << threads.shift);
  return threads;
}

// What a thread does of it: steps first, first + stride, ... of a row.
struct OctetPlace {
  std::int64_t row, first, stride;
};
__device__ __forceinline__ OctetPlace octet_place(OctetThreads threads) {
  const int across = 1 << threads.shift, thread = static_cast<int>(threadIdx.x);
  return {std::int64_t{blockIdx.x} * (kOctetThreads >> threads.shift) + (thread >> threads.shift),
          block_down() * across + (thread & (across - 1)),
          std::int64_t{gridDim.y} * gridDim.z * across};
}

// Items begin ... begin + kCount - 1 of a row, in whole vectors where kWhole: the row is then a
// multiple of them and lies at one of 16 bytes. Else those past `end` count as zeros.
template <class Bits, int kCount, bool kWhole>
__device__ __forceinline__ Vector<Bits, kCount> read_items(const Bits* row, std::int64_t begin,
                                                           std::int64_t end) {
  if constexpr (kWhole) {
    return *reinterpret_cast<const Vector<Bits, kCount>*>(row + begin);
  } else {
    Vector<Bits, kCount> vector{};
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (begin + i < end) vector.items[i] = row[begin + i];
    }
    return vector;
  }
}
template <class Bits, int kCount, bool kWhole>
__device__ __forceinline__ void write_items(const Vector<Bits, kCount>& vector, Bits* row,
                                            std::int64_t begin, std::int64_t end) {
  if constexpr (kWhole) {
    *reinterpret_cast<Vector<Bits, kCount>*>(row + begin) = vector;
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (begin + i < end) row[begin + i] = vector.items[i];
    }
  }
}

}  // namespace sparsecore::cuda
