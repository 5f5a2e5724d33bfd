// A bitmap of a CSR matrix: masks by atomic additions of bits, whose order makes no difference;
// then offsets by counting and summing; then values, each to its place.
#include "bitmap.h"
#include "scan.h"

namespace sparsecore::cuda {
namespace {

__device__ __forceinline__ int bit_of(const StripPlace& where) {
  return where.fragment * kItemsOfLane + where.place.item;
}

__global__ void set_bits(CsrView a, std::uint32_t* masks) {
  for_entries<kBitmapColumns>(a, [=](std::int64_t, const StripPlace& where) {
    atomicOr(&masks[where.block * kWarp + where.place.lane], 1u << bit_of(where));
  });
}

// A warp a block: how many chunks of values it has; and how many values are before each of its
// lanes.
__global__ void count_values(const std::uint32_t* masks, std::int64_t count, std::int64_t* chunks,
                             std::uint16_t* before) {
  const std::int64_t block = warp_of_grid();
  if (block >= count) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int mine = __popc(masks[block * kWarp + lane]);
  const int below = items_before(mine);
  if (before != nullptr) before[block * kWarp + lane] = static_cast<std::uint16_t>(below);
  if (chunks != nullptr && lane == kWarp - 1) {
    chunks[block] = (below + mine + kChunk - 1) / kChunk;
  }
}

__global__ void move_values(CsrView a, StripView bitmap, const std::uint16_t* before,
                            StripMove moved) {
  for_entries<kBitmapColumns>(a, [&](std::int64_t p, const StripPlace& where) {
    const std::int64_t lane = where.block * kWarp + where.place.lane;
    const std::uint32_t below = bitmap.places[lane] & ((1u << bit_of(where)) - 1u);
    moved(p, bitmap.offsets[where.block] * kChunk + before[lane] + __popc(below));
  });
}

}  // namespace

std::uint32_t* bitmap_masks(const CsrView& a, Memory& memory, Stream stream) {
  const StripView bitmap{.rows = a.rows, .cols = a.cols};
  const std::int64_t words = bitmap.strips() * bitmap.blocks() * kWarp;
  // One word at least, so that there is an address.
  auto* masks = memory.take_items<std::uint32_t>(words > 0 ? words : 1);
  if (words == 0) return masks;
  check(cudaMemsetAsync(masks, 0, static_cast<std::size_t>(words) * 4, stream), "clearing");
  launch("packing", set_bits, a_warp_each(a.rows), stream, a, masks);
  return masks;
}

StripView bitmap_of(const CsrView& a, Memory& memory, Stream stream) {
  StripView bitmap{.rows = a.rows, .cols = a.cols, .nnz = a.nnz(), .dtype = a.dtype};
  const std::int64_t count = bitmap.strips() * bitmap.blocks();
  auto* offsets = memory.take_items<std::int64_t>(count + 1);
  bitmap.places = bitmap_masks(a, memory, stream);
  bitmap.offsets = offsets;
  bitmap.slots = bitmap.nnz + kChunk * count;  // however they fall into blocks
  check(cudaMemsetAsync(offsets + count, 0, sizeof(std::int64_t), stream), "clearing");
  launch("packing", count_values, a_warp_each(count), stream, bitmap.places, count, offsets,
         nullptr);
  exclusive_sum(offsets, count + 1, memory, stream);
  return bitmap;
}

void move_bitmap_values(const CsrView& a, const StripView& bitmap, StripMove moved, Memory& memory,
                        Stream stream) {
  const std::int64_t count = bitmap.strips() * bitmap.blocks();
  auto* before = memory.take_items<std::uint16_t>(count * kWarp);
  launch("packing", count_values, a_warp_each(count), stream, bitmap.places, count, nullptr,
         before);
  launch("packing", move_values, a_warp_each(a.rows), stream, a, bitmap, before, moved);
}

}  // namespace sparsecore::cuda
