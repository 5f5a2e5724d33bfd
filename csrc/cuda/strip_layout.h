// Where the entries of a 16-bit matrix lie so that a warp's matrix products find them: in strips of
// 16 rows, in the order of their fragments.
//
// A fragment is 16 x 16 items, of which a lane feeds eight into the product (see ptx.h).
// Consecutive fragments of a strip make a block, whose values follow one another from a multiple of
// 16 bytes on. Where they belong is told in one of two ways.
//
// A bitmap: a block is 64 columns, and lane l has a mask of 32 bits, eight a fragment: 128 bytes a
// block, one coalesced load. Values are in order of lane, and within a lane of bit. 1024 positions
// cost 128 bytes of masks, 8 of offset and up to 16 of padding: 0.148 bytes each, beside 2 a value.
//
// Deltas: a block is 128 columns, and each value has a number of 4 or 8 bits: how many positions it
// is from the one before, fragment by fragment, in a fragment by lane. The largest number is no
// value's: it is a step as long to the next slot, and its own slot holds nothing. 2.5 or 3 bytes a
// slot, up to seven empty slots a block, and 8 bytes of offset.
#pragma once

#include "../views.h"

namespace sparsecore::cuda {

constexpr int kStripRows = 16, kFragmentColumns = 16;
constexpr int kFragmentItems = kStripRows * kFragmentColumns, kItemsOfLane = 8;
constexpr int kChunk = 8;  // values in 16 bytes
constexpr int kBitmapColumns = 64, kDeltaColumns = 128;
constexpr int kBitmapFragments = kBitmapColumns / kFragmentColumns;
constexpr int kDeltaFragments = kDeltaColumns / kFragmentColumns;

template <int kBits>
constexpr int kSkip = (1 << kBits) - 1;  // the delta that is no value's

struct FragmentPlace {
  int lane, item;
};

// The place of an item of a fragment, row and column 0 ... 15 of it; and back.
constexpr SPARSECORE_INLINE FragmentPlace fragment_place(int row, int column) {
  const int word = column / 8 * 2 + row / 8;
  return {row % 8 * 4 + column % 8 / 2, word * 2 + column % 2};
}
constexpr SPARSECORE_INLINE int fragment_row(FragmentPlace place) {
  return place.lane / 4 + place.item / 2 % 2 * 8;
}
constexpr SPARSECORE_INLINE int fragment_column(FragmentPlace place) {
  return place.item / 4 * 8 + place.lane % 4 * 2 + place.item % 2;
}

enum class StripForm : std::uint8_t { kBitmap, kDelta4, kDelta8 };

// All of it in device memory. `offsets` says with which chunk the values of a block begin, and at
// the end how many there are.
struct StripView {
  std::int64_t rows = 0, cols = 0, nnz = 0;
  StripForm form = StripForm::kBitmap;
  DType dtype = DType::kFloat16;
  std::int64_t slots = 0;                 // how many values there is room for
  const std::uint32_t* places = nullptr;  // masks [strips][blocks][32], or the deltas of the slots
  const std::int64_t* offsets = nullptr;  // [strips][blocks] + 1
  const void* values = nullptr;

  SPARSECORE_INLINE std::int64_t strips() const { return (rows + kStripRows - 1) / kStripRows; }
  SPARSECORE_INLINE std::int64_t fragments() const {
    return form == StripForm::kBitmap ? kBitmapFragments : kDeltaFragments;
  }
  SPARSECORE_INLINE std::int64_t blocks() const {
    const std::int64_t columns = fragments() * kFragmentColumns;
    return (cols + columns - 1) / columns;
  }
};

}  // namespace sparsecore::cuda
