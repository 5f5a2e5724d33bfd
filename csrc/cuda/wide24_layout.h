// Where the slots of a 16-bit 2:4 matrix lie so that a warpgroup loads them as the operands of its
// sparse products (wgmma.h), without shared memory.
//
// A slab is 64 rows by 64 columns: two products of 32 columns. Thread 32 w + 4 g + t of 128 has of
// each product 16 bytes, eight slots: pairs t and t + 4 of the eight groups, of rows 16 w + g and
// 16 w + g + 8; and one word of metadata for both: lanes t = 0, 1 hold the places of the first
// product, t = 2, 3 those of the second, which is what the sparsity selector is for. Slabs of 64
// rows follow one another along the columns: 4608 bytes each, 9 / 8 of a byte a position.
#pragma once

#include "../views.h"

namespace sparsecore::cuda {

constexpr int kSlabRows = 64, kSlabColumns = 64, kSlabSlots = 32, kSlabGroups = 16;
constexpr int kGroupThreads = 128;            // of a warpgroup
constexpr int kProducts = 2, kLaneSlots = 8;  // products of a slab; slots of a lane in each
constexpr std::uint32_t kEmptyPlaces = 0x4;   // of a group that is not there

struct SlabSlot {
  int row, slot;
};
struct SlabGroup {
  int row, group;
};

// The slot that is an item of the 2048 of a slab: [product][thread][8].
constexpr SPARSECORE_INLINE SlabSlot slab_slot(int item) {
  const int thread = item / kLaneSlots % kGroupThreads, word = item % kLaneSlots / 2;
  const int row = thread / 32 * 16 + word % 2 * 8 + thread % 32 / 4;
  const int pair = word / 2 * 4 + thread % 4;
  return {row, item / kLaneSlots / kGroupThreads * 16 + pair * 2 + item % 2};
}

// The group whose places are a nibble of the 1024 of a slab: [thread][8], low half of a byte first.
constexpr SPARSECORE_INLINE SlabGroup slab_group(int nibble) {
  const int thread = nibble / 8;
  return {thread / 32 * 16 + nibble / 4 % 2 * 8 + thread % 32 / 4, thread % 4 * 4 + nibble % 4};
}

// All of it in device memory.
struct Wide24View {
  std::int64_t rows = 0, cols = 0;
  const void* values = nullptr;             // [down][across][2][128] of 16 bytes
  const std::uint32_t* metadata = nullptr;  // [down][across][128]
  DType dtype = DType::kFloat16;

  // Slabs.
  SPARSECORE_INLINE std::int64_t down() const { return (rows + kSlabRows - 1) / kSlabRows; }
  SPARSECORE_INLINE std::int64_t across() const { return (cols + kSlabColumns - 1) / kSlabColumns; }
  SPARSECORE_INLINE std::int64_t value_bytes() const {
    return down() * across() * (kSlabRows * kSlabSlots * 2);
  }
  SPARSECORE_INLINE std::int64_t metadata_words() const {
    return down() * across() * kGroupThreads;
  }
};

}  // namespace sparsecore::cuda
