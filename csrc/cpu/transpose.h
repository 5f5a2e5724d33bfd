// dst[c * dst_stride + r] = src[r * src_stride + c]: the transposing copy of a block.
//
// Layout: as many rows as a vector has lanes, by one 16-byte piece of columns. The pieces of every
// fourth (fp32) row are loaded into one vector, so that the shuffles of four such vectors transpose
// all their pieces at once, and what comes out are whole vectors of a column.
// Bytes: each element is read and written once. Per 64 fp32 elements of 64-byte vectors: 16 loads,
// 8 shuffles and 4 stores, where a scalar copy needs 128 memory operations.
#pragma once

#include <cstdint>

#include "shuffle.h"

namespace sparsecore::SPARSECORE_TARGET {

// The 16-byte pieces at p, p + stride, ... (`stride` in elements) one after the other.
template <class T, int kBytes = kVectorBytes>
SPARSECORE_INLINE Sized<T, kBytes> load_pieces(const T* p, std::int64_t stride) {
  if constexpr (kBytes == 16) {
    return *reinterpret_cast<const SizedAt<T, 16>*>(p);
  } else {
    return concatenate<T, kBytes>(load_pieces<T, kBytes / 2>(p, stride),
                                  load_pieces<T, kBytes / 2>(p + kBytes / 32 * stride, stride));
  }
}

// One vector of rows by one piece of columns.
template <class T>
SPARSECORE_INLINE void transpose_pieces(const T* src, std::int64_t src_stride, T* dst,
                                        std::int64_t dst_stride) {
  if constexpr (sizeof(T) == 4) {
    const auto rows = [&](int i) { return load_pieces(src + i * src_stride, 4 * src_stride); };
    const Vec<T> a = rows(0), b = rows(1), c = rows(2), d = rows(3);
    const Vec<T> ab = interleave_low<4>(a, b), upper_ab = interleave_high<4>(a, b);
    const Vec<T> cd = interleave_low<4>(c, d), upper_cd = interleave_high<4>(c, d);
    store(dst, interleave_low<8>(ab, cd));
    store(dst + dst_stride, interleave_high<8>(ab, cd));
    store(dst + 2 * dst_stride, interleave_low<8>(upper_ab, upper_cd));
    store(dst + 3 * dst_stride, interleave_high<8>(upper_ab, upper_cd));
  } else {
    const Vec<T> a = load_pieces(src, 2 * src_stride);
    const Vec<T> b = load_pieces(src + src_stride, 2 * src_stride);
    store(dst, interleave_low<8>(a, b));
    store(dst + dst_stride, interleave_high<8>(a, b));
  }
}

template <class T>
SPARSECORE_INLINE void transpose(const T* src, std::int64_t src_stride, T* dst,
                                 std::int64_t dst_stride, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t kPiece = 16 / sizeof(T);
  const std::int64_t whole_rows = rows - rows % kLanes<T>;
  std::int64_t c = 0;
  for (; c + kPiece <= cols; c += kPiece) {
    for (std::int64_t r = 0; r < whole_rows; r += kLanes<T>) {
      transpose_pieces(src + r * src_stride + c, src_stride, dst + c * dst_stride + r, dst_stride);
    }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t first = r < whole_rows ? c : 0;
    for (std::int64_t j = first; j < cols; ++j) dst[j * dst_stride + r] = src[r * src_stride + j];
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
