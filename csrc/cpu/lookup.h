// Lanes picked by index: gathers by the columns of CSR, and by the codes of block-permuted chunks
// (chunk_codes.h). Beside simd.h, because only row_dot.h and block_permute.h need them.
//
// Either by the processor's instruction or from single loads (Gathers in kernels.h). What these
// take besides is to get sixteen numbers out of vectors' worth of memory: eight bytes are loaded at
// a time and shifted, because loads are what both ways are bound by. (Zen 5, fp32, ns an entry, 512
// x 512, 80 %: rows in lanes 0.17, a load for each number 0.20, gathers by eight 0.27, by sixteen
// 0.31; a row at a time 0.18, 0.20, 0.30, 0.33. Lanes put in place by broadcasts and blends instead
// of inserts: the same. A quarter of the loads by way of general registers: the same.)
#pragma once

#include <cstdint>

#include "../chunk_codes.h"
#include "../kernels.h"
#include "convert.h"

namespace sparsecore::SPARSECORE_TARGET {

// The vector of at(0), at(1), ... (A list, as compilers take apart what is assigned lane by lane.)
template <int W, class T, class At>
SPARSECORE_INLINE typename LanesOf<W, T>::type lanes_from(At at) {
  using Result = typename LanesOf<W, T>::type;
  if constexpr (W > 4) {
    constexpr int kHalf = W / 2;
    const auto low = lanes_from<kHalf, T>(at);
    const auto high = lanes_from<kHalf, T>([&](int i) { return at(i + kHalf); });
    if constexpr (W == 8) return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    if constexpr (W == 16) {
      return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                     15);
    }
  } else if constexpr (W == 4) {
    return Result{at(0), at(1), at(2), at(3)};
  } else {
    static_assert(W == 2);
    return Result{at(0), at(1)};
  }
}

// Calls body(GatherWay<way>{}).
template <Gathers kWay>
struct GatherWay {};
template <class Body>
SPARSECORE_INLINE void with_gathers([[maybe_unused]] Gathers way, Body body) {
#if defined(__AVX2__)
  if (way == Gathers::kInstruction) return body(GatherWay<Gathers::kInstruction>{});
#endif
  body(GatherWay<Gathers::kSingleLoads>{});
}

#if defined(__AVX2__)

// Number i of unsigned ones that lie side by side.
template <class Number>
SPARSECORE_INLINE Number number_at(const void* p, int i) {
  constexpr int kBytes = static_cast<int>(sizeof(Number)), kOfWord = 8 / kBytes;
  std::uint64_t word;
  __builtin_memcpy(&word, static_cast<const char*>(p) + i / kOfWord * 8, sizeof(word));
  return static_cast<Number>(word >> (i % kOfWord * 8 * kBytes));
}

// base[index], W lanes of it.
template <int W, class T>
SPARSECORE_INLINE typename LanesOf<W, T>::type gather_lanes(
    const T* base, typename LanesOf<W, std::int32_t>::type index) {
  using Result = typename LanesOf<W, T>::type;
  if constexpr (sizeof(T) == 4) {
    static_assert(W == 8);
    const auto* p = reinterpret_cast<const float*>(base);
    return reinterpret_cast<Result>(_mm256_i32gather_ps(p, reinterpret_cast<__m256i>(index), 4));
  } else if constexpr (W == 4) {
    return _mm256_i32gather_pd(base, reinterpret_cast<__m128i>(index), 8);
  } else {
#if defined(__AVX512F__)
    return _mm512_i32gather_pd(reinterpret_cast<__m256i>(index), base, 8);
#endif
  }
}

// base[columns[i]], W lanes of it.
template <int W, Gathers kWay, class T, class Column>
SPARSECORE_INLINE typename LanesOf<W, T>::type gather_columns(const T* base,
                                                              const Column* columns) {
  if constexpr (kWay == Gathers::kInstruction) {
    using Index = typename LanesOf<W, std::int32_t>::type;
    return gather_lanes<W>(base, __builtin_convertvector(load_lanes<W, Column>(columns), Index));
  } else if constexpr (W * sizeof(Column) < 8) {
    return lanes_from<W, T>([&](int i) { return base[columns[i]]; });
  } else {
    return lanes_from<W, T>([&](int i) { return base[number_at<Column>(columns, i)]; });
  }
}

// base[field], the fields being those of a step of a gathered chunk. Two gathers of eight are
// faster than one of sixteen: 21 us and 25 for the 131072 entries of a 512 x 512 matrix, on a Xeon
// with 64-byte vectors.
template <int kStep, Gathers kWay, class T>
SPARSECORE_INLINE Vec<T> gather_step(const T* base, const std::uint32_t* codes) {
  constexpr int W = kLanes<T>;
  if constexpr (kWay == Gathers::kSingleLoads) {
    return lanes_from<W, T>(
        [&](int i) { return base[number_at<std::uint16_t>(codes, 2 * i + kStep)]; });
  } else {
    constexpr int kPart = W < 8 ? W : 8;
    const auto part = [&](int first) {
      using Index = typename LanesOf<kPart, std::uint32_t>::type;
      const Index c = load_lanes<kPart, std::uint32_t>(codes + first);
      const Index offsets = kStep == 0 ? c & 0xffffu : c >> 16;
      return gather_lanes<kPart>(
          base, reinterpret_cast<typename LanesOf<kPart, std::int32_t>::type>(offsets));
    };
    if constexpr (W == kPart) {
      return part(0);
    } else {
      return __builtin_shufflevector(part(0), part(8), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                     14, 15);
    }
  }
}

#else

template <int W, Gathers, class T, class Column>
SPARSECORE_INLINE
    typename LanesOf<W, T>::type gather_columns(const T* base, const Column* columns) {
  return lanes_from<W, T>([&](int i) { return base[columns[i]]; });
}

template <int kStep, Gathers, class T>
SPARSECORE_INLINE Vec<T> gather_step(const T* base, const std::uint32_t* codes) {
  return lanes_from<kLanes<T>, T>(
      [&](int i) { return base[decode(ChunkForm::kGathered, kStep, codes[i])]; });
}

#endif

#if defined(__AVX512F__)

// 64 or 128 neighbours in registers, the last of them replaced by zero.
template <class T, ChunkForm kForm>
struct Neighbours {
  static_assert(sizeof(T) == 4);
  static constexpr int kParts = kForm == ChunkForm::kPermuted ? 4 : 8;
  __m512i part[kParts];

  SPARSECORE_INLINE void load(const T* p) {
    for (int i = 0; i + 1 < kParts; ++i) part[i] = _mm512_loadu_si512(p + 16 * i);
    part[kParts - 1] = _mm512_maskz_loadu_epi32(0x7fff, p + 16 * (kParts - 1));
  }
};

// The codes of sixteen rows, turned so that the present step's fields are in place.
template <ChunkForm kForm>
struct PermuteCodes {
  __m512i codes;

  SPARSECORE_INLINE explicit PermuteCodes(const std::uint32_t* p) : codes(_mm512_loadu_si512(p)) {}
  SPARSECORE_INLINE void next_step() { codes = _mm512_ror_epi32(codes, field_bits(kForm)); }
  template <class T>
  SPARSECORE_INLINE Vec<T> pick(const Neighbours<T, kForm>& x) const {
    if constexpr (kForm == ChunkForm::kPermuted) {
      return reinterpret_cast<Vec<T>>(pick_of_64(x.part));
    } else {
      const __mmask16 upper = _mm512_test_epi32_mask(codes, _mm512_set1_epi32(1 << 30));
      return reinterpret_cast<Vec<T>>(
          _mm512_mask_blend_epi32(upper, pick_of_64(x.part), pick_of_64(x.part + 4)));
    }
  }

 private:
  SPARSECORE_INLINE __m512i pick_of_64(const __m512i* part) const {
    return _mm512_mask_blend_epi32(_mm512_movepi32_mask(codes),
                                   _mm512_permutex2var_epi32(part[0], codes, part[1]),
                                   _mm512_permutex2var_epi32(part[2], codes, part[3]));
  }
};
constexpr bool kPermutesNeighbours = true;

#else

constexpr bool kPermutesNeighbours = false;

#endif

}  // namespace sparsecore::SPARSECORE_TARGET
