// 2:4 selection and compression of a row, by the rule of groups24.h.
//
// 32 bytes at a time: a column is kept unless two others of its four come before it, which three
// rotations within the four, three comparisons and their sum say; where magnitudes are equal the
// lower column comes first, so there one less is compared with. The bits of what is kept and not
// zero, eight columns a byte, are an index of tables: two nibbles of metadata, and the permutation
// that brings the chosen values together.
// Bytes: one read of the row, 9/16 (16-bit values) or 17/32 (32-bit) of it written; 5 to 8 cycles
// for 32 bytes (11 for int8). Bound by memory. (Stores past the caches are slower where the result
// is fresh memory, which the system has just zeroed in them.)
#pragma once

#include <cstdint>

#include "../groups24.h"
#include "../kernels.h"
#include "compress24_lanes.h"

namespace sparsecore::SPARSECORE_TARGET {

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
    case DType::kFloat8E4M3:
    case DType::kFloat8E5M2:
      return body(Float8Bits{});
    case DType::kInt8:
      break;
  }
  return body(Int8Bits{});
}

// Steps take bytes for int8's.
template <class B>
constexpr bool kHasSteps = !__is_same(B, Float8Bits);

// A group of up to four columns, zeros after them.
template <class Bits>
struct Group24 {
  Bits columns[4] = {};

  SPARSECORE_INLINE Group24(const Bits* row, std::int64_t width) {
    for (std::int64_t i = 0; i < width; ++i) columns[i] = row[i];
  }
};

template <class B>
SPARSECORE_INLINE void prune_row_of(const typename B::Bits* row, std::int64_t cols,
                                    std::uint8_t* mask) {
  std::int64_t c = 0;
#if defined(__AVX2__)
  constexpr std::int64_t kStep = 64 / sizeof(typename B::Bits);
  if constexpr (kHasSteps<B>) {
    for (; c + kStep <= cols; c += kStep) prune_step(row + c, mask + c);
  }
#endif
  for (; c < cols; c += 4) {
    const std::int64_t width = cols - c < 4 ? cols - c : 4;
    const unsigned kept = two_largest<B>(Group24(row + c, width).columns).bits();
    for (std::int64_t i = 0; i < width; ++i) mask[c + i] = (kept >> i) & 1u;
  }
}

inline void prune_row(const void* row, DType dtype, std::int64_t cols, std::uint8_t* mask) {
  with_bits(dtype, [&](auto bits) {
    using B = decltype(bits);
    prune_row_of<B>(static_cast<const typename B::Bits*>(row), cols, mask);
  });
}

// Groups [first, ...) of a row; the first of them that has more than two nonzeros, or -1.
template <class B>
SPARSECORE_INLINE std::int64_t compress_groups(const typename B::Bits* row, std::int64_t cols,
                                               std::int64_t first, bool prune,
                                               typename B::Bits* values, std::uint8_t* metadata) {
  const std::int64_t groups = (cols + 3) / 4;
  for (std::int64_t g = first; g < groups; ++g) {
    const std::int64_t width = cols - 4 * g < 4 ? cols - 4 * g : 4;
    Group24<typename B::Bits> group(row + 4 * g, width);
    unsigned nonzero = 0;
    const unsigned kept = prune ? two_largest<B>(group.columns).bits() : 15u;
    for (int i = 0; i < 4; ++i) {
      const bool is_nonzero = B::magnitude(group.columns[i]) != 0 && (kept >> i & 1u) != 0;
      if (!is_nonzero) group.columns[i] = 0;  // -0.0 becomes +0.0
      nonzero |= static_cast<unsigned>(is_nonzero) << i;
    }
    const unsigned nibble = nibble_of(nonzero);
    if (nibble == 0) return g;
    values[2 * g] = group.columns[nibble & 3u];
    values[2 * g + 1] = group.columns[nibble >> 2];
    std::uint8_t& byte = metadata[g / 2];
    byte = static_cast<std::uint8_t>(g % 2 == 0 ? nibble | 0xE0u : (byte & 15u) | nibble << 4);
  }
  return -1;
}

template <class B, bool kPrune>
std::int64_t compress_row_of(const typename B::Bits* row, std::int64_t cols,
                             typename B::Bits* values, std::uint8_t* metadata) {
  std::int64_t c = 0;
#if defined(__AVX2__)
  constexpr std::int64_t kStep = 64 / sizeof(typename B::Bits);
  if constexpr (kHasSteps<B>) {
    bool fits = true;
    for (; c + kStep <= cols; c += kStep) {
      fits &= compress_step<kPrune>(row + c, values + c / 2, metadata + c / 8);
    }
    if (!fits) c = 0;  // to find the group
  }
#endif
  return compress_groups<B>(row, cols, c / 4, kPrune, values, metadata);
}

inline std::int64_t compress_row(const void* row, DType dtype, std::int64_t cols, bool prune,
                                 void* values, std::uint8_t* metadata) {
  return with_bits(dtype, [&](auto bits) {
    using B = decltype(bits);
    using Bits = typename B::Bits;
    const auto* from = static_cast<const Bits*>(row);
    auto* to = static_cast<Bits*>(values);
    return prune ? compress_row_of<B, true>(from, cols, to, metadata)
                 : compress_row_of<B, false>(from, cols, to, metadata);
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
