// Which columns of a 2:4 matrix the kernel for few columns (tiles24.cu) takes to be which of those
// that mma.sp multiplies (ptx.h), and the nibbles that lanes hand over for it.
//
// A step of S is two products, of which each of the four lanes that share rows g and g + 8 has four
// words of slots of either row, one load: the first product takes words 0 and 1, the second 2 and
// 3. Which columns a product calls which is free, as long as X and the metadata follow. A word is
// a group of 16-bit items, and lane t has groups 4 t + w of the step's 16: word w = 2 p + i is the
// hardware's group t + 4 i of product p. Of 8-bit items a word is two groups, and lane t has 8 t +
// 2 w + j of 32: the hardware's 2 t + 8 i + j.
//
// A word of X is half of a group of 16-bit items and a whole one of 8-bit items. Either way word
// 16 (r % 2) + 8 (t / 2) + 4 p + 2 (r / 2) + t % 2 of a step's 32 is register r of lane t.
#pragma once

#include <cstdint>

#include "../dtype.h"

namespace sparsecore::cuda {

constexpr int kStepWords = 32;  // of a column of X

// Of 16-bit items, from the 64 bits of a row: nibbles 4 q + 2 product + half, q = 0 ... 3, side by
// side.
constexpr SPARSECORE_INLINE std::uint32_t nibbles_of(std::uint64_t row, int product, int half) {
  const auto spread = row >> (8 * product + 4 * half);
  const auto low = static_cast<std::uint32_t>(spread),
             high = static_cast<std::uint32_t>(spread >> 32);
  return (low & 0xfu) | (low >> 12 & 0xf0u) | (high & 0xfu) << 8 | (high >> 4 & 0xf000u);
}

// Of 8-bit items, from the four words of a row: byte 2 product + half of each, side by side.
constexpr SPARSECORE_INLINE std::uint32_t bytes_of(const std::uint32_t (&row)[4], int product,
                                                   int half) {
  const int shift = 8 * (2 * product + half);
  return (row[0] >> shift & 0xffu) | (row[1] >> shift & 0xffu) << 8 |
         (row[2] >> shift & 0xffu) << 16 | row[3] >> shift << 24;
}

}  // namespace sparsecore::cuda
