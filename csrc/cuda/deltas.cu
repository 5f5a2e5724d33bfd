// Y = A X for N <= 32, A of 16 bits and more than about 80 % zeros. The floor is A's bytes over the
// memory's bandwidth: 2.5 or 3 a slot, so 0.15 of the dense matrix at 90 %. A warp takes a block of
// 16 x 128: its lanes have a chunk of eight slots each, find by one sum over the warp where theirs
// begin, and scatter them into an empty block in shared memory, from which the fragments are loaded
// and emptied again. That is some 100 instructions for each 32 chunks and 70 more (N <= 8, sm_90a):
// 2.6 a position and lane at 90 %, where a mask takes 8 (bitmap.cu), whatever the zeros.
//
// A block of threads takes a strip of 16 rows. Its eight warps share the columns, in eight runs of
// equal length, and their sums are added up in order at the end: the same bits every time.
#include "deltas.h"

namespace sparsecore::cuda {
namespace {

constexpr int kPositions = kStripRows * kDeltaColumns;

template <int kBits>
__device__ __forceinline__ int delta_at(const std::uint32_t* deltas, std::int64_t slot) {
  constexpr int kOfWord = 32 / kBits;
  return static_cast<int>(deltas[slot / kOfWord] >> (slot % kOfWord * kBits)) & kSkip<kBits>;
}

// One item of the result, of an X that holds what is not finite: only stored items meet it.
template <class T, int kBits>
__device__ __forceinline__ float item_by_item(const StripView& a, int row, ColumnOfX<T> column) {
  float sum = 0;
#pragma unroll 1
  for (std::int64_t block = 0; block < a.blocks(); ++block) {
    const std::int64_t* offsets = a.offsets + std::int64_t{blockIdx.x} * a.blocks() + block;
    int position = -1;
#pragma unroll 1
    for (std::int64_t slot = offsets[0] * kChunk; slot < offsets[1] * kChunk; ++slot) {
      const int delta = delta_at<kBits>(a.places, slot);
      position += delta;
      if (delta == kSkip<kBits>) continue;
      const FragmentPlace at{position % kFragmentItems / kItemsOfLane, position % kItemsOfLane};
      if (fragment_row(at) != row) continue;
      const std::int64_t fragment = block * kDeltaFragments + position / kFragmentItems;
      sum += column.times(static_cast<const T*>(a.values)[slot],
                          fragment * kFragmentColumns + fragment_column(at));
    }
  }
  return sum;
}

// A chunk of slots; `deltas` of a lane that has none say so.
template <int kBits>
struct Slots {
  Chunk values;
  Vector<std::uint32_t, kBits / 4> deltas;
};

// The slots of a strip's run of blocks, by chunk.
template <int kBits>
struct Run {
  const Chunk* values;
  const Vector<std::uint32_t, kBits / 4>* deltas;

  __device__ __forceinline__ Run(const StripView& a, std::int64_t first)
      : values(static_cast<const Chunk*>(a.values) + first),
        deltas(reinterpret_cast<const Vector<std::uint32_t, kBits / 4>*>(a.places) + first) {}
  __device__ __forceinline__ Slots<kBits> at(int chunk, int end) const {
    Slots<kBits> found;
    if (chunk < end) return {values[chunk], deltas[chunk]};
#pragma unroll
    for (std::uint32_t& word : found.deltas.items) word = ~0u;
    return found;
  }
};

__device__ __forceinline__ int sum_of(const Vector<std::uint32_t, 1>& deltas) {
  const std::uint32_t even = deltas.items[0] & 0x0f0f0f0fu,
                      odd = deltas.items[0] >> 4 & 0x0f0f0f0fu;
  return static_cast<int>(__dp4a(even, 0x01010101u, __dp4a(odd, 0x01010101u, 0u)));
}
__device__ __forceinline__ int sum_of(const Vector<std::uint32_t, 2>& deltas) {
  const std::uint32_t first = __dp4a(deltas.items[0], 0x01010101u, 0u);
  return static_cast<int>(__dp4a(deltas.items[1], 0x01010101u, first));
}

// Puts the values of 32 chunks where they belong in a block; returns the last one's position, given
// that of the one before.
template <int kBits>
__device__ __forceinline__ int scatter(const Slots<kBits>& slots, int position,
                                       std::uint16_t* block) {
  const int sum = sum_of(slots.deltas), before = items_before(sum);
  int at = position + before;
#pragma unroll
  for (int slot = 0; slot < kChunk; ++slot) {
    const int delta = delta_at<kBits>(slots.deltas.items, slot);
    at += delta;
    const std::uint32_t word = slots.values.items[slot / 2];
    if (delta != kSkip<kBits>) block[at] = static_cast<std::uint16_t>(word >> (16 * (slot % 2)));
  }
  return position + of_last_lane(before + sum);
}

template <class T, int kBits, int kTiles>
__global__ void __launch_bounds__(kStripThreads) delta_strips(StripView a, StripOperands operands) {
  __shared__ StripSums<kTiles> sums;
  __shared__ Chunk expanded[kStripWarps][kPositions / kChunk];
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const std::int64_t blocks = a.blocks();
  Chunk* const tile = expanded[warp];
  const bool is_special = *operands.is_special != 0;
  float d[kTiles][4] = {};
  const std::int64_t begin = blocks * warp / kStripWarps;
  const std::int64_t end = is_special ? begin : blocks * (warp + 1) / kStripWarps;
#pragma unroll
  for (int c = 0; c < kDeltaFragments; ++c) tile[c * kWarp + lane] = {};
  const std::int64_t* offsets = a.offsets + blockIdx.x * blocks + begin;
  const std::int64_t origin = *offsets;
  const Run<kBits> run(a, origin);
  // Chunks are counted from the run's first, the slots of a block's first 32 loaded beforehand.
  const auto end_of = [&](const std::int64_t* block) {
    return static_cast<int>(block[1] - origin);
  };
  int first = 0, last = begin < end ? end_of(offsets) : 0;
  Slots<kBits> next = run.at(lane, last);
  const std::uint32_t* words = operands.words + begin * (kDeltaFragments * kTiles * 2 * kWarp);
  __syncwarp();
  for (std::int64_t block = begin; block < end; ++block) {
    ++offsets;
    const int following = block + 1 < end ? end_of(offsets) : last;
    auto* const items = reinterpret_cast<std::uint16_t*>(tile);
    int position = scatter(next, -1, items);
    for (int chunk = first + kWarp; chunk < last; chunk += kWarp) {
      position = scatter(run.at(chunk + lane, last), position, items);
    }
    first = last;
    last = following;
    next = run.at(first + lane, last);
    __syncwarp();
#pragma unroll
    for (int fragment = 0; fragment < kDeltaFragments; ++fragment) {
      Chunk& mine = tile[fragment * kWarp + lane];
      const Chunk loaded = mine;
      mine = {};
      multiply_fragment<T>(d, loaded.items, words, lane);
      words += kTiles * 2 * kWarp;
    }
    __syncwarp();  // the block is empty again
  }
  write_strip<T>(d, sums, a.rows, operands, is_special, [&](int row, ColumnOfX<T> column) {
    return item_by_item<T, kBits>(a, row, column);
  });
}

}  // namespace

void delta_product(const StripView& a, const StripOperands& operands, Stream stream) {
  const Grid grid{a.strips(), 1, kStripThreads};
  with_type_and_tiles(operands, [&](auto zero, auto tiles) {
    using T = decltype(zero);
    if (a.form == StripForm::kDelta4) {
      launch("csr_matmul", delta_strips<T, 4, tiles()>, grid, stream, a, operands);
    } else {
      launch("csr_matmul", delta_strips<T, 8, tiles()>, grid, stream, a, operands);
    }
  });
}

}  // namespace sparsecore::cuda
