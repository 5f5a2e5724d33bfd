// Lanes picked by the codes of block-permuted chunks (chunk_codes.h), and values widened in
// registers: the vector operations that only cpu/block_permute.h needs, one block per target.
#pragma once

#include <cstdint>

#include "../chunk_codes.h"
#include "convert.h"

namespace sparsecore::SPARSECORE_TARGET {

// Vectors of W lanes of any type.
template <int W, class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(W * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(W * sizeof(T)), aligned(1), may_alias));
};
template <int W, class T>
SPARSECORE_INLINE typename LanesOf<W, T>::type load_lanes(const void* p) {
  return *static_cast<const typename LanesOf<W, T>::unaligned*>(p);
}

// W fp16 numbers as fp32.
template <int W>
SPARSECORE_INLINE typename LanesOf<W, float>::type load_halves(const Half* p) {
#if defined(__AVX2__)
  if constexpr (W == 8) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  } else {
    return load_half(p);
  }
#else
  typename LanesOf<W, float>::type v;
  for (int i = 0; i < W; ++i) v[i] = to_float(p[i]);
  return v;
#endif
}

// W bytes, and W bit patterns of bf16, as 32-bit integers. (GCC 12 takes __builtin_convertvector
// from narrow integers apart, lane by lane.)
template <int W>
SPARSECORE_INLINE typename LanesOf<W, std::int32_t>::type widen_bytes(const std::int8_t* p) {
  using Wide = typename LanesOf<W, std::int32_t>::type;
#if defined(__AVX512F__)
  if constexpr (W == 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return reinterpret_cast<Wide>(_mm512_cvtepi8_epi32(bytes));
  }
#endif
#if defined(__AVX2__)
  if constexpr (W == 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return reinterpret_cast<Wide>(_mm256_cvtepi8_epi32(bytes));
  }
#endif
  return __builtin_convertvector(load_lanes<W, std::int8_t>(p), Wide);
}
template <int W>
SPARSECORE_INLINE typename LanesOf<W, std::uint32_t>::type widen_bits(const BFloat16* p) {
  using Wide = typename LanesOf<W, std::uint32_t>::type;
#if defined(__AVX512F__)
  if constexpr (W == 16) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return reinterpret_cast<Wide>(_mm512_cvtepu16_epi32(bits));
  }
#endif
#if defined(__AVX2__)
  if constexpr (W == 8) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return reinterpret_cast<Wide>(_mm256_cvtepu16_epi32(bits));
  }
#endif
  return __builtin_convertvector(load_lanes<W, std::uint16_t>(p), Wide);
}

// W consecutive values, converted.
template <class Acc, int W, class T>
SPARSECORE_INLINE typename LanesOf<W, Acc>::type load_widened(const T* p) {
  if constexpr (__is_same(T, Acc)) {
    return load_lanes<W, Acc>(p);
  } else if constexpr (__is_same(T, Half)) {
    return load_halves<W>(p);
  } else if constexpr (__is_same(T, BFloat16)) {
    return reinterpret_cast<typename LanesOf<W, Acc>::type>(widen_bits<W>(p) << 16);
  } else {
    static_assert(__is_same(T, std::int8_t));
    return __builtin_convertvector(widen_bytes<W>(p), typename LanesOf<W, Acc>::type);
  }
}

// Calls body(T{}) for the storage type of values that meet an accumulator (choose.h): its own,
// halves in fp32, int8 in all.
template <class Acc, class Body>
SPARSECORE_INLINE void with_values(DType dtype, Body body) {
  if (dtype == DType::kInt8) return body(std::int8_t{});
  if constexpr (__is_same(Acc, float)) {
    if (dtype == DType::kFloat16) return body(Half{});
    if (dtype == DType::kBFloat16) return body(BFloat16{});
  }
  if constexpr (!__is_same(Acc, std::int32_t)) body(Acc{});
}

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
