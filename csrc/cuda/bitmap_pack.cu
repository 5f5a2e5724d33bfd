// A bitmap of a CSR matrix: masks by atomic additions of bits, whose order makes no difference;
// then offsets by counting and summing; then values, each to its place. A warp a row, or a block of
// masks.
#include "bitmap.h"
#include "bitmap_lanes.h"
#include "launch.h"
#include "scan.h"

namespace sparsecore::cuda {
namespace {

constexpr int kThreads = 256, kEach = kThreads / kWarp;  // warps of a block

// A warp a row.
template <class Body>
__device__ void for_entries(const CsrView& a, std::int64_t blocks, Body body) {
  const std::int64_t row = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  if (row >= a.rows) return;
  for (std::int64_t p = a.offsets[row] + threadIdx.x % kWarp; p < a.offsets[row + 1]; p += kWarp) {
    const std::int64_t column = a.columns[p];
    const std::int64_t block = row / kStripRows * blocks + column / kBlockColumns;
    body(
        p, block,
        bitmap_place(static_cast<int>(row % kStripRows), static_cast<int>(column % kBlockColumns)));
  }
}

__global__ void set_bits(CsrView a, std::int64_t blocks, std::uint32_t* masks) {
  for_entries(a, blocks, [=](std::int64_t, std::int64_t block, BitmapPlace place) {
    atomicOr(&masks[block * kWarp + place.lane], 1u << place.bit);
  });
}

// A warp a block: how many chunks of values it has; and how many values are before each of its
// lanes.
__global__ void count_values(const std::uint32_t* masks, std::int64_t count, std::int64_t* chunks,
                             std::uint16_t* before) {
  const std::int64_t block = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  if (block >= count) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int mine = __popc(masks[block * kWarp + lane]);
  const int below = items_before(mine);
  if (before != nullptr) before[block * kWarp + lane] = static_cast<std::uint16_t>(below);
  if (chunks != nullptr && lane == kWarp - 1) {
    chunks[block] = (below + mine + kChunk - 1) / kChunk;
  }
}

template <bool kToCsr>
__global__ void move_values(CsrView a, BitmapView bitmap, const std::uint16_t* before,
                            std::uint16_t* csr_values, std::uint16_t* bitmap_values) {
  for_entries(a, bitmap.blocks(), [&](std::int64_t p, std::int64_t block, BitmapPlace place) {
    const std::uint32_t mask = bitmap.masks[block * kWarp + place.lane];
    const std::int64_t at = bitmap.offsets[block] * kChunk + before[block * kWarp + place.lane] +
                            __popc(mask & ((1u << place.bit) - 1u));
    if (kToCsr) {
      csr_values[p] = bitmap_values[at];
    } else {
      bitmap_values[at] = csr_values[p];
    }
  });
}

template <bool kToCsr>
void move_all(const CsrView& a, const BitmapView& bitmap, void* csr_values, void* bitmap_values,
              Memory& memory, Stream stream) {
  const std::int64_t count = bitmap.strips() * bitmap.blocks();
  auto* before = memory.take_items<std::uint16_t>(count * kWarp);
  launch("packing", count_values, {blocks_for(count, kEach), 1, kThreads}, stream, bitmap.masks,
         count, nullptr, before);
  launch("packing", move_values<kToCsr>, {blocks_for(a.rows, kEach), 1, kThreads}, stream, a,
         bitmap, before, static_cast<std::uint16_t*>(csr_values),
         static_cast<std::uint16_t*>(bitmap_values));
}

}  // namespace

BitmapView bitmap_of(const CsrView& a, Memory& memory, Stream stream) {
  BitmapView bitmap;
  bitmap.rows = a.rows;
  bitmap.cols = a.cols;
  bitmap.nnz = a.nnz();
  bitmap.dtype = a.dtype;
  const std::int64_t count = bitmap.strips() * bitmap.blocks();
  // One word at least, so that there is an address.
  auto* masks = memory.take_items<std::uint32_t>(count > 0 ? count * kWarp : 1);
  auto* offsets = memory.take_items<std::int64_t>(count + 1);
  bitmap.masks = masks;
  bitmap.offsets = offsets;
  if (count == 0) return bitmap;
  check(cudaMemsetAsync(masks, 0, static_cast<std::size_t>(count) * kWarp * 4, stream), "clearing");
  check(cudaMemsetAsync(offsets + count, 0, sizeof(std::int64_t), stream), "clearing");
  launch("packing", set_bits, {blocks_for(a.rows, kEach), 1, kThreads}, stream, a, bitmap.blocks(),
         masks);
  launch("packing", count_values, {blocks_for(count, kEach), 1, kThreads}, stream, masks, count,
         offsets, nullptr);
  exclusive_sum(offsets, count + 1, memory, stream);
  return bitmap;
}

void place_bitmap_values(const CsrView& a, const BitmapView& bitmap, void* bitmap_values,
                         Memory& memory, Stream stream) {
  move_all<false>(a, bitmap, const_cast<void*>(a.values), bitmap_values, memory, stream);
}

void unpack_bitmap_values(const CsrView& a, const BitmapView& bitmap, void* csr_values,
                          Memory& memory, Stream stream) {
  move_all<true>(a, bitmap, csr_values, const_cast<void*>(bitmap.values), memory, stream);
}

}  // namespace sparsecore::cuda
