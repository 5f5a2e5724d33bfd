// Lanes picked by index: gathers of fewer lanes than a vector has, and by the codes of
// block-permuted chunks (chunk_codes.h). Beside simd.h, because only row_dot.h and block_permute.h
// need them.
#pragma once

#include <cstdint>

#include "../chunk_codes.h"
#include "convert.h"

namespace sparsecore::SPARSECORE_TARGET {

// base[index], W lanes of it.
template <int W, class T>
SPARSECORE_INLINE typename LanesOf<W, T>::type gather_lanes(
    const T* base, typename LanesOf<W, std::int32_t>::type index) {
  using Result = typename LanesOf<W, T>::type;
#if defined(__AVX512F__)
  if constexpr (W == 8 && sizeof(T) == 8) {
    return reinterpret_cast<Result>(_mm512_i32gather_pd(reinterpret_cast<__m256i>(index), base, 8));
  }
#endif
#if defined(__AVX2__)
  if constexpr (W == 8 && sizeof(T) == 4) {
    const auto* p = reinterpret_cast<const float*>(base);
    return reinterpret_cast<Result>(_mm256_i32gather_ps(p, reinterpret_cast<__m256i>(index), 4));
  }
  if constexpr (W == 4 && sizeof(T) == 8) {
    return reinterpret_cast<Result>(_mm256_i32gather_pd(base, reinterpret_cast<__m128i>(index), 8));
  }
#endif
  Result v;
  for (int i = 0; i < W; ++i) v[i] = base[index[i]];
  return v;
}

#if defined(__AVX512F__)

// Two gathers of eight are faster than one of sixteen: 21 us and 25 for the 131072 entries of a
// 512 x 512 matrix, on a Xeon with 64-byte vectors.
template <class T, int kStep>
SPARSECORE_INLINE Vec<T> gather_step(const T* base, const std::uint32_t* codes) {
  const auto offsets = [&](int i) -> __m256i {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i));
    return kStep == 0 ? _mm256_and_si256(c, _mm256_set1_epi32(0xffff)) : _mm256_srli_epi32(c, 16);
  };
  if constexpr (sizeof(T) == 8) {
    return reinterpret_cast<Vec<T>>(_mm512_i32gather_pd(offsets(0), base, 8));
  } else {
    const auto* p = reinterpret_cast<const float*>(base);
    return reinterpret_cast<Vec<T>>(
        _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_i32gather_ps(p, offsets(0), 4)),
                           _mm256_i32gather_ps(p, offsets(8), 4), 1));
  }
}

// 64 neighbours in four registers, the last of them replaced by zero.
template <class T>
struct Neighbours {
  static_assert(sizeof(T) == 4);
  __m512i part[4];

  SPARSECORE_INLINE void load(const T* p) {
    for (int i = 0; i < 3; ++i) part[i] = _mm512_loadu_si512(p + 16 * i);
    part[3] = _mm512_maskz_loadu_epi32(0x7fff, p + 48);
  }
};

// The codes of sixteen rows, turned so that the present step's fields are in place.
struct PermuteCodes {
  __m512i codes;

  SPARSECORE_INLINE explicit PermuteCodes(const std::uint32_t* p) : codes(_mm512_loadu_si512(p)) {}
  SPARSECORE_INLINE void next_step() { codes = _mm512_ror_epi32(codes, 6); }
  template <class T>
  SPARSECORE_INLINE Vec<T> pick(const Neighbours<T>& x) const {
    return reinterpret_cast<Vec<T>>(_mm512_mask_blend_epi32(
        _mm512_movepi32_mask(codes), _mm512_permutex2var_epi32(x.part[0], codes, x.part[1]),
        _mm512_permutex2var_epi32(x.part[2], codes, x.part[3])));
  }
};
constexpr bool kPermutesNeighbours = true;

#else

constexpr bool kPermutesNeighbours = false;

#if defined(__AVX2__)

template <class T, int kStep>
SPARSECORE_INLINE Vec<T> gather_step(const T* base, const std::uint32_t* codes) {
  if constexpr (sizeof(T) == 8) {
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
    const __m128i offsets =
        kStep == 0 ? _mm_and_si128(c, _mm_set1_epi32(0xffff)) : _mm_srli_epi32(c, 16);
    return reinterpret_cast<Vec<T>>(_mm256_i32gather_pd(base, offsets, 8));
  } else {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    const __m256i offsets =
        kStep == 0 ? _mm256_and_si256(c, _mm256_set1_epi32(0xffff)) : _mm256_srli_epi32(c, 16);
    return reinterpret_cast<Vec<T>>(
        _mm256_i32gather_ps(reinterpret_cast<const float*>(base), offsets, 4));
  }
}

#else

template <class T, int kStep>
SPARSECORE_INLINE Vec<T> gather_step(const T* base, const std::uint32_t* codes) {
  Vec<T> v;
  for (int i = 0; i < kLanes<T>; ++i) v[i] = base[decode(ChunkForm::kGathered, kStep, codes[i])];
  return v;
}

#endif
#endif

}  // namespace sparsecore::SPARSECORE_TARGET
