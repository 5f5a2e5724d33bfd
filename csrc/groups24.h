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
struct Float8Bits {
  using Bits = std::uint8_t;
  static SPARSECORE_INLINE Bits magnitude(Bits b) { return b & 0x7fu; }
};
struct Int8Bits {
  using Bits = std::uint8_t;
  static SPARSECORE_INLINE Bits magnitude(Bits b) {
    return static_cast<Bits>(b < 128 ? b : 256 - b);  // |-128| is 128
  }
};

// A yes or no for each column of a group. (Booleans, not bits of a word: the device has predicates
// for them, and logic of three at once.)
struct Columns24 {
  bool at[4];

  constexpr SPARSECORE_INLINE unsigned bits() const {
    unsigned word = 0;
    for (int i = 0; i < 4; ++i) word |= static_cast<unsigned>(at[i]) << i;
    return word;
  }
};

constexpr SPARSECORE_INLINE bool two_of(bool a, bool b, bool c) {
  return (a && b) || (a && c) || (b && c);
}

// Which of four columns are the two largest: those that not two others come before.
template <class B>
SPARSECORE_INLINE Columns24 two_largest(const typename B::Bits (&group)[4]) {
  typename B::Bits key[4] = {};
  for (int i = 0; i < 4; ++i) key[i] = B::magnitude(group[i]);
  // Whether the second of two comes before the first.
  const bool a = key[1] > key[0], b = key[2] > key[0], c = key[3] > key[0];
  const bool d = key[2] > key[1], e = key[3] > key[1], f = key[3] > key[2];
  return {{!two_of(a, b, c), !two_of(!a, d, e), !two_of(!b, !d, f), !two_of(!c, !e, !f)}};
}

// Which columns the two slots hold, given those that are not zero, of which there are two at most:
// groups with fewer as in torch's sparse_semi_structured_from_dense_cutlass.
struct Slots24 {
  bool first_is_0, first_is_1;    // neither: 2
  bool second_is_1, second_is_3;  // neither: 2

  constexpr SPARSECORE_INLINE unsigned nibble() const {
    return (first_is_0 ? 0u : (first_is_1 ? 1u : 2u)) |
           (second_is_1 ? 4u : (second_is_3 ? 12u : 8u));
  }
};
constexpr SPARSECORE_INLINE Slots24 slots_of(const Columns24& nonzero) {
  const bool n0 = nonzero.at[0], n1 = nonzero.at[1], n3 = nonzero.at[3];
  return {n0, n1, n0 && n1, n3 || (!n0 && !n1)};
}
constexpr SPARSECORE_INLINE bool are_at_most_two(const Columns24& nonzero) {
  const bool n0 = nonzero.at[0], n1 = nonzero.at[1], n2 = nonzero.at[2], n3 = nonzero.at[3];
  return !(n0 && n1 && (n2 || n3)) && !(n2 && n3 && (n0 || n1));
}

// The metadata of the columns that are not zero, bit i for column i; 0 where they are more than two
// (no valid nibble is 0).
constexpr SPARSECORE_INLINE unsigned nibble_of(unsigned nonzero) {
  const Columns24 columns{
      {(nonzero & 1u) != 0, (nonzero & 2u) != 0, (nonzero & 4u) != 0, (nonzero & 8u) != 0}};
  return are_at_most_two(columns) ? slots_of(columns).nibble() : 0;
}

// Whether a nibble names two ascending columns.
constexpr SPARSECORE_INLINE bool is_valid_nibble(unsigned nibble) {
  return (nibble & 3u) < (nibble >> 2);
}

}  // namespace sparsecore
