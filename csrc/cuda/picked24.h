// Two of four columns, in registers (groups24.h has the rule).
#pragma once

#include <cuda_runtime.h>

#include "../groups24.h"

namespace sparsecore::cuda {

template <class Bits>
struct Picked {
  Bits values[2];
  unsigned nibble;
  bool is_bad;  // not pruned, and more than two of the four are not zero
};

template <class B, bool kPrune>
__device__ __forceinline__ Picked<typename B::Bits> picked_by_comparisons(
    const typename B::Bits* columns) {
  using Bits = typename B::Bits;
  const Bits group[4] = {columns[0], columns[1], columns[2], columns[3]};
  Columns24 nonzero{{true, true, true, true}};
  if constexpr (kPrune) nonzero = two_largest<B>(group);
#pragma unroll
  for (int i = 0; i < 4; ++i) nonzero.at[i] = nonzero.at[i] && B::magnitude(group[i]) != 0;
  const Slots24 slots = slots_of(nonzero);
  const Bits third = nonzero.at[2] ? group[2] : Bits{0};  // -0.0 becomes +0.0
  const Bits fourth = nonzero.at[3] ? group[3] : Bits{0};
  return {{slots.first_is_0 ? group[0] : (slots.first_is_1 ? group[1] : third),
           slots.second_is_1 ? group[1] : (slots.second_is_3 ? fourth : third)},
          slots.nibble(),
          !kPrune && !are_at_most_two(nonzero)};
}

// ---- the two largest of items of 8 and 16 bits, in fewer instructions ----

// An item in 32 bits that order as its magnitude and, among equals, as its column: below the
// magnitude 3 - column, below that what the item has besides.
template <class B>
struct Key {
  static constexpr int kRest = 8;  // of 8 bits: the item itself

  static __device__ __forceinline__ std::uint32_t of(std::uint8_t item, std::uint32_t column) {
    return std::uint32_t{B::magnitude(item)} << 10 | (3 - column) << 8 | item;
  }
  static __device__ __forceinline__ std::uint8_t item(std::uint32_t key) {
    return static_cast<std::uint8_t>(key);
  }
};
template <>
struct Key<Float16Bits> {
  static constexpr int kRest = 1;  // the sign

  static __device__ __forceinline__ std::uint32_t of(std::uint16_t item, std::uint32_t column) {
    return (item & 0x7fffu) << 3 | (3 - column) << 1 | std::uint32_t{item} >> 15;
  }
  static __device__ __forceinline__ std::uint16_t item(std::uint32_t key) {
    return static_cast<std::uint16_t>((key >> 3 & 0x7fffu) | key << 15);
  }
};

__device__ __forceinline__ std::uint32_t larger(std::uint32_t a, std::uint32_t b) {
  return a > b ? a : b;
}
__device__ __forceinline__ std::uint32_t smaller(std::uint32_t a, std::uint32_t b) {
  return a > b ? b : a;
}

// The two largest keys bring their columns and items along.
template <class B>
__device__ __forceinline__ Picked<typename B::Bits> picked_by_keys(
    const typename B::Bits* columns) {
  using K = Key<B>;
  constexpr std::uint32_t kColumn = 3u << K::kRest, kLeast = 4u << K::kRest;  // of a nonzero
  constexpr std::uint32_t kZeroIn2 = 1u << K::kRest, kZeroIn3 = 0;
  const std::uint32_t a = K::of(columns[0], 0), b = K::of(columns[1], 1);
  const std::uint32_t c = K::of(columns[2], 2), d = K::of(columns[3], 3);
  const std::uint32_t ab = larger(a, b), cd = larger(c, d);
  const std::uint32_t less_ab = smaller(a, b), less_cd = smaller(c, d);
  std::uint32_t first = larger(ab, cd);
  std::uint32_t second = larger(smaller(ab, cd), larger(less_ab, less_cd));
  // Slots that no nonzero takes hold +0.0, where slots_of has them.
  if (first < kLeast) first = kZeroIn2;
  const std::uint32_t zero = (first & kColumn) == kZeroIn2 ? kZeroIn3 : kZeroIn2;
  if (second < kLeast) second = zero;
  if ((first & kColumn) < (second & kColumn)) {
    const std::uint32_t later = first;
    first = second;
    second = later;
  }
  const std::uint32_t places = (first >> K::kRest & 3u) | (second >> K::kRest & 3u) << 2;
  return {{K::item(first), K::item(second)}, 15u - places, false};
}

template <class B, bool kPrune>
__device__ __forceinline__ Picked<typename B::Bits> picked(const typename B::Bits* columns) {
  if constexpr (kPrune && sizeof(typename B::Bits) <= 2) {
    return picked_by_keys<B>(columns);
  } else {
    return picked_by_comparisons<B, kPrune>(columns);
  }
}

}  // namespace sparsecore::cuda
