// Values of every storage type as vectors of the accumulator type, widened in registers. In
// intrinsics, because GCC 12 takes __builtin_convertvector from narrow integers apart.
#pragma once

#include <cstdint>

#include "simd.h"

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
template <class Acc, int W = kLanes<Acc>, class T>
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

}  // namespace sparsecore::SPARSECORE_TARGET
