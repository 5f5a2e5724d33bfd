// What a lane of the kernel for few columns (tiles24.cu) loads of a 2:4 matrix, and hands to mma.sp
// (ptx.h) as tiles24_layout.h says.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "../views.h"
#include "ptx.h"
#include "scalars.h"
#include "tiles24_layout.h"
#include "widen8.h"

namespace sparsecore::cuda {

using Words = Vector<std::uint32_t, 4>;

template <class T>
constexpr int kStepColumns = kStepWords * 4 / static_cast<int>(sizeof(T));

// A row of S whose values are V, for an X of T.
template <class V, class T>
struct TileRow {
  static constexpr int kLoaded = 4 * sizeof(V) / sizeof(T);
  using Loaded = Vector<std::uint32_t, kLoaded>;

  const Loaded* values;
  const std::uint8_t* metadata;

  __device__ __forceinline__ TileRow(const Sparse24View& a, std::int64_t row) {
    const std::int64_t r = row < a.rows ? row : a.rows - 1;  // whose sums are not written
    values = reinterpret_cast<const Loaded*>(static_cast<const V*>(a.values) + r * (a.cols / 2));
    metadata = a.metadata + r * (a.cols / 8);
  }

  __device__ __forceinline__ Words words(std::int64_t step, int t) const {
    const Loaded loaded = values[4 * step + t];
    if constexpr (kLoaded == 4) {
      return loaded;
    } else {
      Words wide;
#pragma unroll
      for (int i = 0; i < kLoaded; ++i) widen<V, T>(loaded.items[i], wide.items + 2 * i);
      return wide;
    }
  }
};

// The metadata of a step's products: of 16 bits both read one word, the lanes of their selector; of
// 8 bits lane t has what the hardware calls groups 8 (t / 2) ... + 7 of row g + 8 (t % 2).
template <class V, class T>
__device__ __forceinline__ void load_places(const TileRow<V, T>& upper, const TileRow<V, T>& lower,
                                            std::int64_t step, int t, std::uint32_t (&places)[2]) {
  if constexpr (sizeof(T) == 1) {
    const Words row =
        reinterpret_cast<const Words*>(t % 2 == 0 ? upper.metadata : lower.metadata)[step];
    places[0] = bytes_of(row.items, 0, t / 2);
    places[1] = bytes_of(row.items, 1, t / 2);
  } else {
    const auto nibbles = [&](const std::uint8_t* row) {
      return nibbles_of(reinterpret_cast<const std::uint64_t*>(row)[step], t / 2, t % 2);
    };
    places[0] = places[1] = nibbles(upper.metadata) | nibbles(lower.metadata) << 16;
  }
}

// Product kProduct of a step, one tile of columns of X.
template <class T, int kProduct>
__device__ __forceinline__ void multiply(AccOf<T> (&d)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[4], std::uint32_t places) {
  if constexpr (std::is_same_v<T, std::int8_t>) {
    mma_sp_m16n8k64(d, a, b, places);
  } else {
    mma_sp_m16n8k32<T, kProduct>(d, a, b, places);
  }
}

}  // namespace sparsecore::cuda
