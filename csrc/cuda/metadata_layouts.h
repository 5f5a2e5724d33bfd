// Where hardware wants the nibbles of 2:4 metadata, and back to the canonical order (views.h).
//
// A position counts nibbles: position p is half p % 2, low half first, of byte p / 2 of a buffer
// that is read little-endian. Row and group name a nibble as the canonical layout does, a group
// being four columns (two for tf32, whose sparsity is 1:2). Each layout is a permutation of the
// nibbles of a matrix whose rows and groups are whole tiles; whoever has others pads them.
//
// Sources: the metadata fragments of PTX's mma.sp and wgmma.sp ("Warp-level matrix instructions:
// sparse", "Asynchronous warpgroup-level matrix instructions: sparse"); CUTLASS's host_reorder.h
// for the sm80 layouts and sm90_sparse_config.inl for the sm90 ones.
#pragma once

#include <cstdint>

#include "../dtype.h"

namespace sparsecore::cuda {

struct MetadataPlace {
  std::int64_t row, group;
};

constexpr SPARSECORE_INLINE bool operator==(MetadataPlace a, MetadataPlace b) {
  return a.row == b.row && a.group == b.group;
}

constexpr std::int64_t kWordNibbles = 8, kTileWords = 32;

// sm80, values of 16 bits, and of tf32: tiles of 32 rows x 8 groups, down the rows first. Lane
// 4 g + 2 h + j of a tile's 32 words has groups 4 j ... 4 j + 3 of row 16 h + g in its low half, of
// row 16 h + g + 8 in its high half.
struct Sm80Metadata16 {
  static constexpr std::int64_t kRows = 32, kGroups = 8;

  static constexpr SPARSECORE_INLINE std::int64_t position(MetadataPlace at, std::int64_t rows) {
    const std::int64_t tile = at.group / kGroups * (rows / kRows) + at.row / kRows;
    const std::int64_t g = at.row % 8, high = at.row / 8 % 2, h = at.row / 16 % 2;
    const std::int64_t lane = 4 * g + 2 * h + at.group / 4 % 2;
    return (tile * kTileWords + lane) * kWordNibbles + 4 * high + at.group % 4;
  }
  static constexpr SPARSECORE_INLINE MetadataPlace place(std::int64_t p, std::int64_t rows) {
    const std::int64_t word = p / kWordNibbles, lane = word % kTileWords, tile = word / kTileWords;
    const std::int64_t high = p / 4 % 2, row = lane / 4 + 8 * high + lane / 2 % 2 * 16;
    return {tile % (rows / kRows) * kRows + row,
            tile / (rows / kRows) * kGroups + lane % 2 * 4 + p % 4};
  }
};

// sm80, values of 8 bits: tiles of 16 rows x 16 groups, down the rows first. Lane 4 g + 2 j + h has
// groups 8 j ... 8 j + 7 of row 8 h + g.
struct Sm80Metadata8 {
  static constexpr std::int64_t kRows = 16, kGroups = 16;

  static constexpr SPARSECORE_INLINE std::int64_t position(MetadataPlace at, std::int64_t rows) {
    const std::int64_t tile = at.group / kGroups * (rows / kRows) + at.row / kRows;
    const std::int64_t lane = at.row % 8 * 4 + at.group / 8 % 2 * 2 + at.row / 8 % 2;
    return (tile * kTileWords + lane) * kWordNibbles + at.group % 8;
  }
  static constexpr SPARSECORE_INLINE MetadataPlace place(std::int64_t p, std::int64_t rows) {
    const std::int64_t word = p / kWordNibbles, lane = word % kTileWords, tile = word / kTileWords;
    return {tile % (rows / kRows) * kRows + lane % 2 * 8 + lane / 4,
            tile / (rows / kRows) * kGroups + lane / 2 % 2 * 8 + p % 8};
  }
};

// sm90, values of 16 bits, and of tf32: atoms of 64 rows x kBlocks blocks of 8 groups, down the
// rows first; kBlocks, 1 to 4, is what a kernel's tile holds of them. Within an atom, from the
// innermost: 4 groups, the two rows that are 8 apart, the blocks, 8 rows, the halves of a block, 4
// times 16 rows.
template <int kBlocks>
struct Sm90Metadata16 {
  static constexpr std::int64_t kRows = 64, kGroups = 8 * kBlocks;

  static constexpr SPARSECORE_INLINE std::int64_t position(MetadataPlace at, std::int64_t rows) {
    const std::int64_t atom = at.group / kGroups * (rows / kRows) + at.row / kRows;
    const std::int64_t r = at.row % kRows, g = at.group % kGroups;
    const std::int64_t inner = (g / 8 * 2 + r / 8 % 2) * 4 + g % 4;
    const std::int64_t outer = (r / 16 * 2 + g / 4 % 2) * 8 + r % 8;
    return (atom * 64 + outer) * kGroups + inner;
  }
  static constexpr SPARSECORE_INLINE MetadataPlace place(std::int64_t p, std::int64_t rows) {
    const std::int64_t inner = p % kGroups, outer = p / kGroups % 64, atom = p / kGroups / 64;
    const std::int64_t r = outer / 16 * 16 + inner / 4 % 2 * 8 + outer % 8;
    const std::int64_t g = inner / 8 * 8 + outer / 8 % 2 * 4 + inner % 4;
    return {atom % (rows / kRows) * kRows + r, atom / (rows / kRows) * kGroups + g};
  }
};

// sm90, values of 8 bits: atoms of 64 rows x kBlocks blocks of 16 groups, down the rows first; an
// atom is row-major.
template <int kBlocks>
struct Sm90Metadata8 {
  static constexpr std::int64_t kRows = 64, kGroups = 16 * kBlocks;

  static constexpr SPARSECORE_INLINE std::int64_t position(MetadataPlace at, std::int64_t rows) {
    const std::int64_t atom = at.group / kGroups * (rows / kRows) + at.row / kRows;
    return (atom * kRows + at.row % kRows) * kGroups + at.group % kGroups;
  }
  static constexpr SPARSECORE_INLINE MetadataPlace place(std::int64_t p, std::int64_t rows) {
    const std::int64_t row = p / kGroups % kRows, atom = p / kGroups / kRows;
    return {atom % (rows / kRows) * kRows + row, atom / (rows / kRows) * kGroups + p % kGroups};
  }
};

// ---- tf32: one of two ----

// Whether a canonical group keeps one of its first two columns and one of its last two.
constexpr SPARSECORE_INLINE bool is_one_of_two(unsigned nibble) {
  return (nibble & 3u) < 2 && (nibble >> 2) >= 2;
}
// The two nibbles of tf32 that such a group becomes, the earlier in the low half: 0x4 for the first
// of two columns, 0xE for the second.
constexpr SPARSECORE_INLINE unsigned tf32_nibbles(unsigned nibble) {
  const unsigned earlier = (nibble & 1u) != 0 ? 0xEu : 0x4u;
  const unsigned later = (nibble >> 2 & 1u) != 0 ? 0xEu : 0x4u;
  return earlier | later << 4;
}
constexpr SPARSECORE_INLINE unsigned canonical_nibble(unsigned tf32) {
  return ((tf32 & 0xFu) == 0xEu ? 1u : 0u) | ((tf32 >> 4) == 0xEu ? 3u : 2u) << 2;
}

// ---- a layout by its name ----

struct MetadataLayout {
  const char* name;
  std::int64_t rows, groups;  // of a tile
  std::int64_t (*position)(MetadataPlace at, std::int64_t rows);
  MetadataPlace (*place)(std::int64_t position, std::int64_t rows);
};

template <class Layout>
constexpr MetadataLayout metadata_layout(const char* name) {
  return {name, Layout::kRows, Layout::kGroups, Layout::position, Layout::place};
}

constexpr MetadataLayout kMetadataLayouts[] = {
    metadata_layout<Sm80Metadata16>("sm80_16bit"),
    metadata_layout<Sm80Metadata8>("sm80_8bit"),
    metadata_layout<Sm90Metadata16<1>>("sm90_16bit_k32"),
    metadata_layout<Sm90Metadata16<2>>("sm90_16bit_k64"),
    metadata_layout<Sm90Metadata16<4>>("sm90_16bit_k128"),
    metadata_layout<Sm90Metadata8<1>>("sm90_8bit_k64"),
    metadata_layout<Sm90Metadata8<2>>("sm90_8bit_k128"),
};

}  // namespace sparsecore::cuda
