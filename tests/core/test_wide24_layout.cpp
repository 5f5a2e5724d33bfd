// What a warpgroup's sparse products are given: the slabs of wide24_layout.h, and tiles in shared
// memory.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <set>
#include <utility>

#include "cuda/metadata_layouts.h"
#include "cuda/shared_tile.h"
#include "cuda/wide24_layout.h"

namespace sparsecore::cuda {
namespace {

TEST_CASE("each slot and each group of a slab is somewhere, once") {
  std::set<std::pair<int, int>> slots;
  std::set<std::pair<int, int>> groups;
  for (int item = 0; item < kSlabRows * kSlabSlots; ++item) {
    const SlabSlot at = slab_slot(item);
    if (at.row >= 0 && at.row < kSlabRows && at.slot >= 0 && at.slot < kSlabSlots) {
      slots.insert({at.row, at.slot});
    }
  }
  for (int nibble = 0; nibble < kSlabRows * kSlabGroups; ++nibble) {
    const SlabGroup at = slab_group(nibble);
    if (at.row >= 0 && at.row < kSlabRows && at.group >= 0 && at.group < kSlabGroups) {
      groups.insert({at.row, at.group});
    }
  }
  CHECK_EQ(slots.size(), kSlabRows * kSlabSlots);
  CHECK_EQ(groups.size(), kSlabRows * kSlabGroups);
}

// The fragment of m64nNk16 (PTX ISA, "Register Fragments"): lane 4 g + t has columns 2 t, 2 t + 1
// of row g, of row g + 8, and the same eight columns further.
TEST_CASE("slots lie as a dense fragment of what is stored would") {
  const auto slot = [](int product, int thread, int item) {
    const SlabSlot at = slab_slot((product * kGroupThreads + thread) * kLaneSlots + item);
    return std::array{at.row, at.slot};
  };
  CHECK_EQ(slot(0, 0, 0), std::array{0, 0});
  CHECK_EQ(slot(0, 0, 1), std::array{0, 1});
  CHECK_EQ(slot(0, 0, 2), std::array{8, 0});
  CHECK_EQ(slot(0, 0, 4), std::array{0, 8});
  CHECK_EQ(slot(0, 0, 7), std::array{8, 9});
  CHECK_EQ(slot(0, 1, 0), std::array{0, 2});
  CHECK_EQ(slot(0, 4, 0), std::array{1, 0});
  CHECK_EQ(slot(0, 32, 0), std::array{16, 0});
  CHECK_EQ(slot(1, 0, 0), std::array{0, 16});
}

// mma.sp's words of two row blocks hold the two products of one: the selector tells them apart.
TEST_CASE("a warp's places lie as those of mma.sp for 32 rows") {
  for (int nibble = 0; nibble < kSlabRows * kSlabGroups; ++nibble) {
    const auto in_warp = Sm80Metadata16::place(nibble % (32 * 8), 32);
    const SlabGroup at = slab_group(nibble);
    CHECK_EQ(at.row, nibble / (32 * 8) * 16 + in_warp.row % 16);
    CHECK_EQ(at.group, in_warp.row / 16 * 8 + in_warp.group);
  }
}

TEST_CASE("chunks of one column of an atom are in different banks") {
  for (int chunk = 0; chunk < kLineChunks; ++chunk) {
    std::set<int> banks;
    std::set<int> line;
    for (int i = 0; i < 8; ++i) {
      banks.insert(chunk_offset(i, chunk) % kLineBytes);
      line.insert(chunk_offset(chunk, i));
    }
    CHECK_EQ(banks.size(), 8);
    CHECK_EQ(*line.begin(), chunk * kLineBytes);
    CHECK_EQ(line.size(), 8);
  }
  CHECK_EQ(chunk_offset(9, 1), kAtomBytes + kLineBytes);
}

TEST_CASE("a descriptor's fields") {
  CHECK_EQ(tile_descriptor(0x8040, 0x2000, 0x400), 0x4000'0040'0200'0804u);
  // 256 KiB are named at most.
  CHECK_EQ(tile_descriptor(0x40000, 16, 1024), tile_descriptor(0, 16, 1024));
}

}  // namespace
}  // namespace sparsecore::cuda
