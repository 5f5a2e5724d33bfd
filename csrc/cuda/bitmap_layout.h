// Where the entries of a 16-bit matrix lie so that a warp's matrix products find them: masks and
// values in the order of their fragments.
//
// A strip is 16 rows, a block of a strip 64 columns: four fragments of 16 x 16. Lane l of a block
// has a mask of 32 bits, eight a fragment, for the eight items of A that it feeds into the product
// (see ptx.h): 128 bytes a block, one coalesced load. The values of a block follow one another by
// lane, and within a lane by bit, from a multiple of 16 bytes on. 1024 positions cost 128 bytes of
// masks, 8 of offset and up to 16 of padding: 0.148 bytes each, beside 2 a value.
#pragma once

#include "../views.h"

namespace sparsecore::cuda {

constexpr int kStripRows = 16, kBlockColumns = 64, kFragmentColumns = 16;
constexpr int kChunk = 8;  // values in 16 bytes

struct BitmapPlace {
  int lane, bit;
};

// The place of an item of a block, row 0 ... 15 and column 0 ... 63 of it; and back.
constexpr SPARSECORE_INLINE BitmapPlace bitmap_place(int row, int column) {
  const int fragment = column / kFragmentColumns, k = column % kFragmentColumns;
  const int word = k / 8 * 2 + row / 8;
  return {row % 8 * 4 + k % 8 / 2, fragment * 8 + word * 2 + k % 2};
}
constexpr SPARSECORE_INLINE int bitmap_row(BitmapPlace place) {
  return place.lane / 4 + place.bit / 2 % 2 * 8;
}
constexpr SPARSECORE_INLINE int bitmap_column(BitmapPlace place) {
  return place.bit / 8 * kFragmentColumns + place.bit % 8 / 4 * 8 + place.lane % 4 * 2 +
         place.bit % 2;
}

// All of it in device memory. `offsets` says with which chunk the values of a block begin, and at
// the end how many there are.
struct BitmapView {
  std::int64_t rows = 0, cols = 0, nnz = 0;
  const std::uint32_t* masks = nullptr;   // [strips][blocks][32]
  const std::int64_t* offsets = nullptr;  // [strips][blocks] + 1
  const void* values = nullptr;
  DType dtype = DType::kFloat16;

  SPARSECORE_INLINE std::int64_t strips() const { return (rows + kStripRows - 1) / kStripRows; }
  SPARSECORE_INLINE std::int64_t blocks() const {
    return (cols + kBlockColumns - 1) / kBlockColumns;
  }
  // Room for all values, however they fall into blocks.
  SPARSECORE_INLINE std::int64_t most_items() const { return nnz + kChunk * strips() * blocks(); }
};

}  // namespace sparsecore::cuda
