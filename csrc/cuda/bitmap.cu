// Y = A X for N <= 32, A of 16 bits and 40 to 80 % zeros. The floor is A's bytes over the memory's
// bandwidth: 2 a value and 0.15 a position, so 0.57 of the dense matrix at 50 %. A warp copies the
// values of a block to shared memory, 16 bytes a lane, while it works on those of the block before.
// There a lane takes the next of its values wherever a bit of its mask is set, and a warp does one
// matrix product for 256 positions and eight columns: 8 instructions a position and lane (N <= 8,
// sm_90a), as many as an H200 has time for while it reads the bytes of 50 %.
//
// A block of threads takes a strip of 16 rows. Its eight warps share the columns, in eight runs of
// equal length, and their sums are added up in order at the end: the same bits every time.
#include "bitmap.h"

namespace sparsecore::cuda {
namespace {

// One item of the result, of an X that holds what is not finite: only stored items meet it.
template <class T>
__device__ __forceinline__ float item_by_item(const StripView& a, int row, ColumnOfX<T> column) {
  float sum = 0;
#pragma unroll 1
  for (std::int64_t block = 0; block < a.blocks(); ++block) {
    const std::int64_t place = std::int64_t{blockIdx.x} * a.blocks() + block;
    const std::uint32_t* masks = a.places + place * kWarp;
    std::int64_t next = a.offsets[place] * kChunk;
#pragma unroll 1
    for (int lane = 0; lane < row % 8 * 4 + 4; ++lane) {
#pragma unroll 1
      for (std::uint32_t left = masks[lane]; left != 0; left &= left - 1, ++next) {
        const int bit = __ffs(static_cast<int>(left)) - 1;
        const FragmentPlace at{lane, bit % kItemsOfLane};
        if (fragment_row(at) != row) continue;
        const std::int64_t fragment = block * kBitmapFragments + bit / kItemsOfLane;
        sum += column.times(static_cast<const T*>(a.values)[next],
                            fragment * kFragmentColumns + fragment_column(at));
      }
    }
  }
  return sum;
}

// What a warp has of a block in registers: its mask, and its share of the values.
constexpr int kChunks = kStripRows * kBitmapColumns / kChunk, kChunksOfLane = kChunks / kWarp;
struct Fetched {
  std::uint32_t mask;
  Chunk chunks[kChunksOfLane];
};

__device__ __forceinline__ Fetched fetched(const std::uint32_t* masks, const Chunk* chunks,
                                           int count, int lane) {
  Fetched found;
  found.mask = masks[lane];
#pragma unroll
  for (int c = 0; c < kChunksOfLane; ++c) {
    if (c * kWarp + lane < count) found.chunks[c] = chunks[c * kWarp + lane];
  }
  return found;
}

// The items of a fragment that this lane feeds into the product: its next values where bits are
// set.
__device__ __forceinline__ void expand(std::uint32_t mask, const std::uint16_t*& values,
                                       int fragment, std::uint32_t (&items)[4]) {
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    std::uint32_t halves[2] = {};
#pragma unroll
    for (int item = 0; item < 2; ++item) {
      if (mask & 1u << (fragment * kItemsOfLane + word * 2 + item)) halves[item] = *values++;
    }
    items[word] = halves[0] | halves[1] << 16;
  }
}

template <class T, int kTiles>
__global__ void __launch_bounds__(kStripThreads)
    bitmap_strips(StripView a, StripOperands operands) {
  __shared__ StripSums<kTiles> sums;
  __shared__ Chunk staged[kStripWarps][kChunks];
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const std::int64_t blocks = a.blocks();
  const bool is_special = *operands.is_special != 0;
  float d[kTiles][4] = {};
  const std::int64_t begin = blocks * warp / kStripWarps;
  const std::int64_t end = is_special ? begin : blocks * (warp + 1) / kStripWarps;
  const std::int64_t place = std::int64_t{blockIdx.x} * blocks + begin;
  const std::uint32_t* masks = a.places + place * kWarp;
  const std::int64_t* offsets = a.offsets + place;
  // Chunks are counted from those of this warp's first block.
  const std::int64_t origin = *offsets;
  const Chunk* const chunks = static_cast<const Chunk*>(a.values) + origin;
  int first = 0, last = 0;
  Fetched next;
  const auto fetch = [&] {
    first = last;
    last = static_cast<int>(*++offsets - origin);
    next = fetched(masks, chunks + first, last - first, lane);
    masks += kWarp;
  };
  if (begin < end) fetch();
  const std::uint32_t* words = operands.words + begin * (kBitmapFragments * kTiles * 2 * kWarp);
  for (std::int64_t block = begin; block < end; ++block) {
    const std::uint32_t mask = next.mask;
#pragma unroll
    for (int c = 0; c < kChunksOfLane; ++c) staged[warp][c * kWarp + lane] = next.chunks[c];
    if (block + 1 < end) fetch();
    const auto* values =
        reinterpret_cast<const std::uint16_t*>(staged[warp]) + items_before(__popc(mask));
    __syncwarp();
#pragma unroll
    for (int fragment = 0; fragment < kBitmapFragments; ++fragment) {
      std::uint32_t items[4];
      expand(mask, values, fragment, items);
      multiply_fragment<T>(d, items, words, lane);
      words += kTiles * 2 * kWarp;
    }
    __syncwarp();  // all lanes have read what is staged
  }
  write_strip<T>(d, sums, a.rows, operands, is_special,
                 [&](int row, ColumnOfX<T> column) { return item_by_item(a, row, column); });
}

}  // namespace

void bitmap_product(const StripView& a, const StripOperands& operands, Stream stream) {
  with_type_and_tiles(operands, [&](auto zero, auto tiles) {
    launch("csr_matmul", bitmap_strips<decltype(zero), tiles()>, {a.strips(), 1, kStripThreads},
           stream, a, operands);
  });
}

}  // namespace sparsecore::cuda
