// What the sweeps over blocks of rows and columns share: four rows of sums in registers.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "shuffle.h"
#include "widen.h"

namespace sparsecore::SPARSECORE_TARGET {

// As many as leave registers for the value and the loads: 16 of 32, or 12 of 16, hold sums.
constexpr int kBlockVectors = kVectorBytes == 64 ? 4 : 3;

// Four 32-bit values in every four lanes of a vector of L. (In intrinsics, as GCC 12 loads and then
// shuffles where the load alone can do it.)
template <int L, class T>
SPARSECORE_INLINE typename LanesOf<L, T>::type repeat_four(const T* p) {
  using Lanes = typename LanesOf<L, T>::type;
#if defined(__AVX512F__)
  if constexpr (L == 16) {
    return reinterpret_cast<Lanes>(
        _mm512_broadcast_f32x4(reinterpret_cast<__m128>(load_lanes<4, T>(p))));
  }
#endif
#if defined(__AVX2__)
  if constexpr (L == 8) {
    return reinterpret_cast<Lanes>(_mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)));
  }
#endif
  if constexpr (L == 4) return load_lanes<4, T>(p);
  Lanes v;
  for (int l = 0; l < L; ++l) v[l] = p[l % 4];
  return v;
}

// The first `count` lanes: 1 ... L. (In intrinsics: nothing else stores a part of half a vector.)
template <int L, class T>
SPARSECORE_INLINE void store_first(T* p, typename LanesOf<L, T>::type v, std::int64_t count) {
  if constexpr (L == kLanes<T>) {
    store(p, v, LaneMask<T>(count));
#if defined(__AVX2__)
  } else if constexpr (sizeof(T) == 4 && L == 8) {
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_maskstore_ps(reinterpret_cast<float*>(p), mask, reinterpret_cast<__m256>(v));
#endif
  } else {
    for (int l = 0; l < L; ++l) {
      if (l < count) p[l] = v[l];
    }
  }
}

// One of each four lanes in all four.
template <int kWhich, class V, int... kLane>
SPARSECORE_INLINE V one_of_four_as(V v, Order<kLane...>) {
  return __builtin_shufflevector(v, v, (kLane / 4 * 4 + kWhich)...);
}

// Sums of kWidth columns: whole vectors, or one of fewer lanes.
template <class Acc, int kWidth>
struct BlockSums {
  static constexpr int kRows = 4;
  static constexpr int L = kWidth < kLanes<Acc> ? kWidth : kLanes<Acc>;
  static constexpr int V = kWidth / L;
  using Lanes = typename LanesOf<L, Acc>::type;
  Lanes sum[kRows][V];

  // From where they are, or from zero where this column block is the first.
  SPARSECORE_INLINE void load_from(const BlockTile<Acc>& tile, const std::uint16_t* rows) {
    for (int i = 0; i < kRows; ++i) {
      const Acc* from = tile.sums + rows[i] * tile.sums_stride;
      for (int v = 0; v < V; ++v) {
        sum[i][v] = tile.first ? Lanes{} : load_lanes<L, Acc>(from + v * L);
      }
    }
  }
  // Where in the panel the row of X lies that a packed entry's offset names. (kInPlace: at it.)
  template <bool kInPlace>
  static SPARSECORE_INLINE std::uint64_t place(std::uint64_t offset) {
    if constexpr (kInPlace) return offset;
    constexpr std::uint64_t kEach = kWidth % kOffsetOfColumn == 0 ? kWidth / kOffsetOfColumn : 0;
    return kEach != 0 ? offset * kEach : offset / kOffsetOfColumn * kWidth;
  }
  SPARSECORE_INLINE void add(int row, Acc value, const Acc* x) {
    if constexpr (L == kLanes<Acc>) {
      const Lanes factor = broadcast(value);
      for (int v = 0; v < V; ++v) sum[row][v] = fma<Acc>(factor, load(x + v * L), sum[row][v]);
    } else {
      for (int v = 0; v < V; ++v) sum[row][v] += value * load_lanes<L, Acc>(x + v * L);
    }
  }
  // The same for a packed entry of each row.
  template <bool kPicks, bool kInPlace>
  SPARSECORE_INLINE void add_four(const Acc* values, const std::uint16_t* offsets,
                                  const Acc* panel) {
    if constexpr (kPicks) {
      const Lanes four = repeat_four<L>(values);
      std::uint64_t places;
      __builtin_memcpy(&places, offsets, sizeof places);
      add_one_of_four<0>(four, panel + place<kInPlace>(places & 0xffffu));
      add_one_of_four<1>(four, panel + place<kInPlace>(places >> 16 & 0xffffu));
      add_one_of_four<2>(four, panel + place<kInPlace>(places >> 32 & 0xffffu));
      add_one_of_four<3>(four, panel + place<kInPlace>(places >> 48));
    } else {
      for (int i = 0; i < kRows; ++i) {
        add(i, values[i], panel + place<kInPlace>(offsets[i]));
      }
    }
  }
  // The same for the rows that `is_some` names; not for inner loops.
  template <bool kInPlace, class IsSome>
  SPARSECORE_INLINE void add_some(const Acc* values, const std::uint16_t* offsets, const Acc* panel,
                                  IsSome is_some) {
#pragma GCC unroll 4  // or the sums would have to lie in memory
    for (int i = 0; i < kRows; ++i) {
      if (is_some(i)) add(i, values[i], panel + place<kInPlace>(offsets[i]));
    }
  }
  SPARSECORE_INLINE void add(const BlockSums& other) {
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < V; ++v) sum[i][v] += other.sum[i][v];
    }
  }
  SPARSECORE_INLINE void store_to(const BlockTile<Acc>& tile, const std::uint16_t* rows) const {
    const bool is_partial = tile.columns < kWidth;
    for (int i = 0; i < kRows; ++i) {
      Acc* to = tile.sums + rows[i] * tile.sums_stride;
      for (int v = 0; v < V - 1; ++v) store_lanes(to + v * L, sum[i][v]);
      constexpr int kLast = (V - 1) * L;
      if (is_partial) {
        store_first<L>(to + kLast, sum[i][V - 1], tile.columns - kLast);
      } else {
        store_lanes(to + kLast, sum[i][V - 1]);
      }
    }
  }
  // As apply_epilogue and store_block (write_out.h), in their order.
  SPARSECORE_INLINE void finish_to(const BlockFinish<Acc>& finish, std::int64_t columns,
                                   const std::uint16_t* rows) const {
    const std::int64_t last = columns - (V - 1) * L;
#pragma GCC unroll 4  // or the sums would have to lie in memory
    for (int i = 0; i < kRows; ++i) {
      if (rows[i] >= finish.rows) continue;
      Acc* const to = finish.out + rows[i] * finish.out_stride;
      const Acc* const residual =
          finish.residual == nullptr ? nullptr : finish.residual + rows[i] * finish.residual_stride;
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const bool is_partial = v == V - 1 && last < L;
        Lanes sum_here = sum[i][v];
        if (finish.bias != nullptr) sum_here += finish.bias[rows[i]];
        if (residual != nullptr) {
          sum_here +=
              is_partial ? load_some(residual + v * L, last) : load_lanes<L, Acc>(residual + v * L);
        }
        if (finish.relu) sum_here = sum_here < Acc(0) ? Lanes{} : sum_here;  // NaN passes
        if (is_partial) {
          store_first<L>(to + v * L, sum_here, last);
        } else {
          store_lanes(to + v * L, sum_here);
        }
      }
    }
  }

 private:
  static SPARSECORE_INLINE Lanes load_some(const Acc* from, std::int64_t count) {
    Lanes some{};
    for (int l = 0; l < L; ++l) {
      if (l < count) some[l] = from[l];
    }
    return some;
  }
  static SPARSECORE_INLINE void store_lanes(Acc* to, Lanes v) {
    *reinterpret_cast<typename LanesOf<L, Acc>::unaligned*>(to) = v;
  }
  template <int kRow>
  SPARSECORE_INLINE void add_one_of_four(Lanes four, const Acc* x) {
    const Lanes value = one_of_four_as<kRow>(four, Ascending<L>{});
    for (int v = 0; v < V; ++v) sum[kRow][v] += value * load_lanes<L, Acc>(x + v * L);
  }
};

// Picks the instantiation for the tile's width, where that is whole vectors.
template <template <class, int> class Sweep, class Acc, class Tile>
SPARSECORE_INLINE void with_whole_vectors(const Tile& tile) {
  constexpr int L = kLanes<Acc>;
  switch (tile.width / L) {
    case 1:
      return Sweep<Acc, L>::run(tile);
    case 2:
      return Sweep<Acc, 2 * L>::run(tile);
    case 3:
      return Sweep<Acc, 3 * L>::run(tile);
    default:
      assert(tile.width == 4 * L && kBlockVectors == 4);
      if constexpr (kBlockVectors == 4) return Sweep<Acc, 4 * L>::run(tile);
  }
}

// The same for parts of vectors, too.
template <template <class, int> class Sweep, class Acc, class Tile>
SPARSECORE_INLINE void with_width(const Tile& tile) {
  constexpr int L = kLanes<Acc>;
  if constexpr (L > 4) {
    if (tile.width == 4) return Sweep<Acc, 4>::run(tile);
  }
  if constexpr (L > 8) {
    if (tile.width == 8) return Sweep<Acc, 8>::run(tile);
  }
  with_whole_vectors<Sweep, Acc>(tile);
}

}  // namespace sparsecore::SPARSECORE_TARGET
