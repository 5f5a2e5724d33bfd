// What a warpgroup's sparse products are given: the slabs of wide24_layout.h, and tiles in shared
// memory.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <set>

#include "cuda/metadata_layouts.h"
#include "cuda/shared_tile.h"
#include "cuda/wide24_layout.h"

namespace sparsecore::cuda {
namespace {

TEST_CASE("a slab's slots and places are permuted, and found again") {
  std::array<int, kSlabRows * kSlabSlots> met_items{};
  std::array<int, kSlabRows * kSlabGroups> met_nibbles{};
  bool is_inverse = true;
  for (int row = 0; row < kSlabRows; ++row) {
    for (int slot = 0; slot < kSlabSlots; ++slot) {
      const int item = slab_item({row, slot});
      ++met_items.at(static_cast<std::size_t>(item));
      const SlabSlot back = slab_slot(item);
      is_inverse &= back.row == row && back.slot == slot;
    }
    for (int group = 0; group < kSlabGroups; ++group) {
      const int nibble = slab_nibble({row, group});
      ++met_nibbles.at(static_cast<std::size_t>(nibble));
      const SlabGroup back = slab_group(nibble);
      is_inverse &= back.row == row && back.group == group;
    }
  }
  CHECK(is_inverse);
  CHECK(std::set<int>(met_items.begin(), met_items.end()) == std::set<int>{1});
  CHECK(std::set<int>(met_nibbles.begin(), met_nibbles.end()) == std::set<int>{1});
}

// The fragment of m64nNk16 (PTX ISA, "Register Fragments"): lane 4 g + t has columns 2 t, 2 t + 1
// of row g, of row g + 8, and the same eight columns further.
TEST_CASE("slots lie as a dense fragment of what is stored would") {
  const auto place = [](int row, int slot) {
    const int item = slab_item({row, slot});
    return std::array<int, 3>{item / kLaneSlots / kGroupThreads, item / kLaneSlots % kGroupThreads,
                              item % kLaneSlots};
  };
  CHECK_EQ(place(0, 0), std::array{0, 0, 0});
  CHECK_EQ(place(0, 1), std::array{0, 0, 1});
  CHECK_EQ(place(8, 0), std::array{0, 0, 2});
  CHECK_EQ(place(0, 8), std::array{0, 0, 4});
  CHECK_EQ(place(8, 9), std::array{0, 0, 7});
  CHECK_EQ(place(0, 2), std::array{0, 1, 0});
  CHECK_EQ(place(1, 0), std::array{0, 4, 0});
  CHECK_EQ(place(16, 0), std::array{0, 32, 0});
  CHECK_EQ(place(0, 16), std::array{1, 0, 0});
}

// mma.sp's words of two row blocks hold the two products of one: the selector tells them apart.
TEST_CASE("a warp's places lie as those of mma.sp for 32 rows") {
  for (int row = 0; row < kSlabRows; ++row) {
    for (int group = 0; group < kSlabGroups; ++group) {
      const std::int64_t in_warp =
          Sm80Metadata16::position({row % 16 + group / 8 * 16, group % 8}, 32);
      CHECK_EQ(slab_nibble({row, group}), row / 16 * 32 * 8 + in_warp);
    }
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
