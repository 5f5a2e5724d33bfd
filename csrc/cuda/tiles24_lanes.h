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

// What a lane loads of a step of S, whose values are V, for an X of T. As metadata the 64 bits of
// rows g and g + 8; for an X of 8 bits the 128 of row g + 8 (t % 2).
template <class V, class T>
struct TileStep {
  using Slots = Vector<std::uint32_t, 4 * sizeof(V) / sizeof(T)>;

  Slots upper, lower;  // of rows g and g + 8
  Words metadata;

  static __device__ __forceinline__ Words words(const Slots& slots) {
    if constexpr (sizeof(V) == sizeof(T)) {
      return slots;
    } else {
      Words wide;
#pragma unroll
      for (int i = 0; i < 2; ++i) widen<V, T>(slots.items[i], wide.items + 2 * i);
      return wide;
    }
  }

  // Of both products. Of 16 bits they read one word, by their selectors; of 8 bits lane t has what
  // the hardware calls groups 8 (t / 2) ... + 7.
  __device__ __forceinline__ void places(int t, std::uint32_t (&of_products)[2]) const {
    if constexpr (sizeof(T) == 1) {
      of_products[0] = bytes_of(metadata.items, 0, t / 2);
      of_products[1] = bytes_of(metadata.items, 1, t / 2);
    } else {
      const auto nibbles = [&](int word) {
        const auto row = metadata.items[word] | std::uint64_t{metadata.items[word + 1]} << 32;
        return nibbles_of(row, t / 2, t % 2);
      };
      of_products[0] = of_products[1] = nibbles(0) | nibbles(2) << 16;
    }
  }
};

// Rows g and g + 8 of a strip, for lane t of their four.
template <class V, class T>
class TileRows {
 public:
  using Step = TileStep<V, T>;

  __device__ __forceinline__ TileRows(const Sparse24View& a, std::int64_t row, int t) {
    const std::int64_t last = a.rows - 1;  // for those that are not there: nobody writes their sums
    const std::int64_t rows[2] = {row < last ? row : last, row + 8 < last ? row + 8 : last};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const V* const values = static_cast<const V*>(a.values) + rows[i] * (a.cols / 2);
      slots_[i] = reinterpret_cast<const typename Step::Slots*>(values) + t;
      metadata_[i] = a.metadata + rows[i] * (a.cols / 8);
    }
    if constexpr (sizeof(T) == 1) metadata_[0] = t % 2 == 0 ? metadata_[0] : metadata_[1];
  }

  __device__ __forceinline__ Step step(std::int64_t i) const {
    Step loaded{slots_[0][4 * i], slots_[1][4 * i], {}};
    if constexpr (sizeof(T) == 1) {
      loaded.metadata = reinterpret_cast<const Words*>(metadata_[0])[i];
    } else {
      using Row = Vector<std::uint32_t, 2>;
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const Row words = reinterpret_cast<const Row*>(metadata_[row])[i];
        loaded.metadata.items[2 * row] = words.items[0];
        loaded.metadata.items[2 * row + 1] = words.items[1];
      }
    }
    return loaded;
  }

 private:
  const typename Step::Slots* slots_[2];
  const std::uint8_t* metadata_[2];
};

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
