// 2:4 selection and compression of a row, on the magnitudes as unsigned integers: for IEEE types
// the bits without the sign order like the magnitudes, zero is zero with either sign, and NaN is
// the largest.
// Bytes: one read of the row, 9/16 (16-bit values) or 5/8 (32-bit) of it written; six comparisons
// a group.
#pragma once

#include <cstdint>

#include "../kernels.h"

namespace sparsecore::SPARSECORE_TARGET {

// idx0 | idx1 << 2 of the columns that are not zero (bit i of the index: column i). Groups with
// fewer than two nonzeros as in torch's sparse_semi_structured_from_dense_cutlass; 0 marks the
// patterns with more than two (no valid nibble is 0).
constexpr std::uint8_t kNibble[16] = {0xE, 0x8, 0x9, 0x4, 0xE, 0x8, 0x9, 0,
                                      0xE, 0xC, 0xD, 0,   0xE, 0,   0,   0};

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

template <class Body>
SPARSECORE_INLINE auto with_bits(DType dtype, Body body) {
  switch (dtype) {
    case DType::kFloat64:
      return body(Float64Bits{});
    case DType::kFloat32:
    case DType::kInt32:
      return body(Float32Bits{});
    case DType::kFloat16:
    case DType::kBFloat16:
      return body(Float16Bits{});
    case DType::kInt8:
      break;
  }
  return body(Int8Bits{});
}

template <class B>
SPARSECORE_INLINE void prune_row_of(const typename B::Bits* row, std::int64_t cols,
                                    std::uint8_t* mask) {
  for (std::int64_t c = 0; c < cols; c += 4) {
    typename B::Bits key[4] = {};
    const std::int64_t width = cols - c < 4 ? cols - c : 4;
    for (std::int64_t i = 0; i < width; ++i) key[i] = B::magnitude(row[c + i]);
    int larger[4] = {};  // how many of the group come before column i
    for (int i = 0; i < 4; ++i) {
      for (int j = i + 1; j < 4; ++j) {
        const int j_wins = key[j] > key[i];
        larger[i] += j_wins;
        larger[j] += 1 - j_wins;
      }
    }
    for (std::int64_t i = 0; i < width; ++i) mask[c + i] = larger[i] < 2;
  }
}

inline void prune_row(const void* row, DType dtype, std::int64_t cols, std::uint8_t* mask) {
  with_bits(dtype, [&](auto bits) {
    using B = decltype(bits);
    prune_row_of<B>(static_cast<const typename B::Bits*>(row), cols, mask);
  });
}

template <class B>
SPARSECORE_INLINE std::int64_t compress_row_of(const typename B::Bits* row, std::int64_t cols,
                                               typename B::Bits* values, std::uint8_t* metadata) {
  const std::int64_t groups = (cols + 3) / 4;
  for (std::int64_t g = 0; g < groups; ++g) {
    typename B::Bits group[4] = {};
    const std::int64_t width = cols - 4 * g < 4 ? cols - 4 * g : 4;
    unsigned nonzero = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      const typename B::Bits bits = row[4 * g + i];
      const bool is_nonzero = B::magnitude(bits) != 0;
      group[i] = is_nonzero ? bits : typename B::Bits{0};  // -0.0 becomes +0.0
      nonzero |= static_cast<unsigned>(is_nonzero) << i;
    }
    const unsigned nibble = kNibble[nonzero];
    if (nibble == 0) return g;
    values[2 * g] = group[nibble & 3u];
    values[2 * g + 1] = group[nibble >> 2];
    std::uint8_t& byte = metadata[g / 2];
    byte = static_cast<std::uint8_t>(g % 2 == 0 ? nibble | 0xE0u : (byte & 15u) | nibble << 4);
  }
  return -1;
}

inline std::int64_t compress_row(const void* row, DType dtype, std::int64_t cols, void* values,
                                 std::uint8_t* metadata) {
  return with_bits(dtype, [&](auto bits) {
    using B = decltype(bits);
    using Bits = typename B::Bits;
    return compress_row_of<B>(static_cast<const Bits*>(row), cols, static_cast<Bits*>(values),
                              metadata);
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
