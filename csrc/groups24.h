// The rule of 2:4 for one group of four columns: which two are kept, and how that is written down.
// The processor's kernels (cpu/compress24.h) and the device's (cuda/compress24.cu) share it.
//
// Magnitudes are compared as integers: for IEEE types the bits without the sign order like them,
// zero is zero with either sign, and NaN is the largest. Where they are equal, the lower column
// comes first.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace sparsecore {

struct Float64Bits {
  using Bits = std::uint64_t;
  static SPARSECORE_INLINE Bits magnitude(Bits b) { return b & 0x7fffffffffffffffu; }
};
struct Float32Bits {
  using Bits = std::uint32_t;
  static SPARSECORE_INLINE Bits magnitude(Bits b) { return b & 0x7fffffffu; }
};
struct Float16Bits {
  using Bits = std::uint16_t;
  static SPARSECORE_INLINE Bits magnitude(Bits b) { return b & 0x7fffu; }
};
struct Int8Bits {
  using Bits = std::uint8_t;
  static SPARSECORE_INLINE Bits magnitude(Bits b) {
    return static_cast<Bits>(b < 128 ? b : 256 - b);  // |-128| is 128
  }
};

// Which of four columns are the two largest, one bit each.
template <class B>
SPARSECORE_INLINE unsigned two_largest(const typename B::Bits (&group)[4]) {
  typename B::Bits key[4] = {};
  for (int i = 0; i < 4; ++i) key[i] = B::magnitude(group[i]);
  int larger[4] = {};  // how many of the group come before column i
  for (int i = 0; i < 4; ++i) {
    for (int j = i + 1; j < 4; ++j) {
      const int j_wins = key[j] > key[i];
      larger[i] += j_wins;
      larger[j] += 1 - j_wins;
    }
  }
  unsigned mask = 0;
  for (int i = 0; i < 4; ++i) mask |= static_cast<unsigned>(larger[i] < 2) << i;
  return mask;
}

// idx0 | idx1 << 2 of the columns that are not zero (bit i of the index: column i). Groups with
// fewer than two nonzeros as in torch's sparse_semi_structured_from_dense_cutlass; 0 marks the
// patterns with more than two (no valid nibble is 0). Sixteen nibbles in a word, as a kernel of the
// device cannot index an array of constants.
constexpr SPARSECORE_INLINE unsigned nibble_of(unsigned nonzero) {
  constexpr std::uint64_t kNibbles = 0x000E'0DCE'098E'498Eu;
  return static_cast<unsigned>(kNibbles >> (4 * nonzero)) & 15u;
}

// Whether a nibble names two ascending columns.
constexpr SPARSECORE_INLINE bool is_valid_nibble(unsigned nibble) {
  return (nibble & 3u) < (nibble >> 2);
}

}  // namespace sparsecore
