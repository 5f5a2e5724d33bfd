// Vectors put together from parts of others, the same on every target: what the compiler's vector
// extensions make of lists of lanes.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "simd.h"

namespace sparsecore::SPARSECORE_TARGET {

template <int... kLane>
struct Order {};
template <int... kLane>
Order<kLane...> order_of(std::integer_sequence<int, kLane...>);
template <int kCount>
using Ascending = decltype(order_of(std::make_integer_sequence<int, kCount>{}));

// The lanes of a, then those of b: a vector of kBytes.
template <class T, int kBytes, int... kLane>
SPARSECORE_INLINE Sized<T, kBytes> concatenate_as(Sized<T, kBytes / 2> a, Sized<T, kBytes / 2> b,
                                                  Order<kLane...>) {
  return __builtin_shufflevector(a, b, kLane...);
}
template <class T, int kBytes>
SPARSECORE_INLINE Sized<T, kBytes> concatenate(Sized<T, kBytes / 2> a, Sized<T, kBytes / 2> b) {
  return concatenate_as<T, kBytes>(a, b, Ascending<kBytes / static_cast<int>(sizeof(T))>{});
}

template <bool kHigh, class V, int... kLane>
SPARSECORE_INLINE V interleave_as(V a, V b, Order<kLane...>) {
  constexpr int kCount = sizeof...(kLane), kPiece = 16 * kCount / kVectorBytes;
  constexpr int kFirst = kHigh ? kPiece / 2 : 0;
  return __builtin_shufflevector(
      a, b, (kLane / kPiece * kPiece + kFirst + kLane % kPiece / 2 + kLane % 2 * kCount)...);
}

// In every 16 bytes: the units (of 4 or 8 bytes) of the lower half of a and b, alternately; or of
// the upper half.
template <int kUnit, bool kHigh, class V>
SPARSECORE_INLINE V interleave(V a, V b) {
  if constexpr (kUnit == 4) {
    using Units = Vec<std::int32_t>;
    return reinterpret_cast<V>(interleave_as<kHigh>(
        reinterpret_cast<Units>(a), reinterpret_cast<Units>(b), Ascending<kLanes<std::int32_t>>{}));
  } else {
    using Units = Vec<std::int64_t>;
    return reinterpret_cast<V>(interleave_as<kHigh>(
        reinterpret_cast<Units>(a), reinterpret_cast<Units>(b), Ascending<kLanes<std::int64_t>>{}));
  }
}
template <int kUnit, class V>
SPARSECORE_INLINE V interleave_low(V a, V b) {
  return interleave<kUnit, false>(a, b);
}
template <int kUnit, class V>
SPARSECORE_INLINE V interleave_high(V a, V b) {
  return interleave<kUnit, true>(a, b);
}

// The lower half of a vector added to its upper half, down to 16 bytes.
template <class T, int kBytes, int... kLane>
SPARSECORE_INLINE Sized<T, kBytes / 2> add_halves(Sized<T, kBytes> v, Order<kLane...>) {
  constexpr int kCount = sizeof...(kLane);
  return __builtin_shufflevector(v, v, kLane...) +
         __builtin_shufflevector(v, v, (kLane + kCount)...);
}
template <class T, int kBytes = kVectorBytes>
SPARSECORE_INLINE Sized<T, 16> add_pieces(Sized<T, kBytes> v) {
  if constexpr (kBytes == 16) {
    return v;
  } else {
    using Half = Ascending<kBytes / 2 / static_cast<int>(sizeof(T))>;
    return add_pieces<T, kBytes / 2>(add_halves<T, kBytes>(v, Half{}));
  }
}

// The sum of all lanes, always as the same tree: upper half onto lower half.
template <class T>
SPARSECORE_INLINE T reduce_add(Vec<T> v) {
  const Sized<T, 16> piece = add_pieces<T>(v);
  if constexpr (sizeof(T) == 8) {
    return piece[0] + piece[1];
  } else {
    const Sized<T, 8> pair =
        __builtin_shufflevector(piece, piece, 0, 1) + __builtin_shufflevector(piece, piece, 2, 3);
    return pair[0] + pair[1];
  }
}

// sums[i] = the sum of the lanes of v[i], four vectors at once: 13 operations for 64-byte vectors
// of floats, where four reduce_add take 32.
template <class T>
SPARSECORE_INLINE void reduce_add4(const Vec<T>* v, T* sums) {
  const auto put = [&](int first, Vec<T> pieces) {
    *reinterpret_cast<SizedAt<T, 16>*>(sums + first) = add_pieces<T>(pieces);
  };
  const auto by_units = [](auto unit, Vec<T> a, Vec<T> b) {
    return interleave_low<unit>(a, b) + interleave_high<unit>(a, b);
  };
  constexpr std::integral_constant<int, 4> kFour{};
  constexpr std::integral_constant<int, 8> kEight{};
  if constexpr (sizeof(T) == 4) {
    put(0, by_units(kEight, by_units(kFour, v[0], v[1]), by_units(kFour, v[2], v[3])));
  } else {
    put(0, by_units(kEight, v[0], v[1]));
    put(2, by_units(kEight, v[2], v[3]));
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
