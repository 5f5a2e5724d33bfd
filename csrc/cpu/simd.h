// The vector type that every kernel is written in, one block of intrinsics per target.
//
// Arithmetic uses the compiler's vector extensions (operators on Vec<T>); only what they cannot
// say (masks, gathers, fused multiply-add, half precision) is spelled per target. This header is
// compiled once per target into that target's own namespace.
#pragma once

#include <cstdint>

#include "../dtype.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if !defined(SPARSECORE_TARGET)
#error "SPARSECORE_TARGET names the namespace of the target being compiled"
#endif

namespace sparsecore::SPARSECORE_TARGET {

// Builds for tests may ask for vectors wider than the target's registers: the compiler splits them.
#if defined(SPARSECORE_VECTOR_BYTES)
constexpr int kVectorBytes = SPARSECORE_VECTOR_BYTES;
#elif defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T, int kBytes>
struct VecOf {
  typedef T type __attribute__((vector_size(kBytes)));
  // The same vector at any address, allowed to alias arrays of T.
  typedef T unaligned __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
};
template <class T, int kBytes>
using Sized = typename VecOf<T, kBytes>::type;
template <class T, int kBytes>
using SizedAt = typename VecOf<T, kBytes>::unaligned;
template <class T>
using Vec = Sized<T, kVectorBytes>;
template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
SPARSECORE_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const SizedAt<T, kVectorBytes>*>(p);
}

template <class T>
SPARSECORE_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<SizedAt<T, kVectorBytes>*>(p) = v;
}

template <class T>
SPARSECORE_INLINE Vec<T> broadcast(T value) {
  return value - Vec<T>{};  // exact for every value, -0.0 included
}

// The first `count` lanes (0 ... kLanes) of a vector, or those of set bits; the others are neither
// read nor written.
template <class T>
struct LaneMask;
template <class T>
SPARSECORE_INLINE Vec<T> load(const T* p, const LaneMask<T>& mask);
template <class T>
SPARSECORE_INLINE void store(T* p, Vec<T> v, const LaneMask<T>& mask);

// base[index[0]], base[index[1]], ...; with a mask, zero in the lanes left out, whose indices are
// not read either. Indices are sign-extended: they must be below 2^31.
template <class T>
SPARSECORE_INLINE Vec<T> gather(const T* base, const std::uint32_t* index);
template <class T>
SPARSECORE_INLINE Vec<T> gather(const T* base, const std::uint32_t* index, const LaneMask<T>& mask);

template <class T>
SPARSECORE_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a * b + c;  // kernels are compiled with -ffp-contract=fast
}

// c + a * b of the lower halves of each lane + a * b of the upper ones, all 16-bit numbers.
SPARSECORE_INLINE Vec<std::int32_t> add_half_products(Vec<std::int32_t> a, Vec<std::int32_t> b,
                                                      Vec<std::int32_t> c) {
  using Lanes = Vec<std::int32_t>;
#if defined(__AVX512F__)
  return c + reinterpret_cast<Lanes>(
                 _mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return c + reinterpret_cast<Lanes>(
                 _mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__) && !defined(SPARSECORE_VECTOR_BYTES)
  return c + reinterpret_cast<Lanes>(
                 _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  const auto low = [](Lanes v) {
    return reinterpret_cast<Lanes>(reinterpret_cast<Vec<std::uint32_t>>(v) << 16) >> 16;
  };
  return c + low(a) * low(b) + (a >> 16) * (b >> 16);
#endif
}

#if defined(__SSE2__)
// Sums in int32 are of products of int8 numbers only, which a 16-bit multiplication does in one
// operation; a 32-bit one is two, and SSE2 has none.
template <>
SPARSECORE_INLINE Vec<std::int32_t> fma<std::int32_t>(Vec<std::int32_t> a, Vec<std::int32_t> b,
                                                      Vec<std::int32_t> c) {
  return add_half_products(a & 0xffff, b, c);
}
#endif

#if defined(__AVX512F__)

template <class T>
struct LaneMask {
  std::uint32_t bits;
  SPARSECORE_INLINE explicit LaneMask(std::int64_t count)
      : bits(static_cast<std::uint32_t>((1u << count) - 1u)) {}
  static SPARSECORE_INLINE LaneMask of_bits(std::uint64_t set) {
    LaneMask mask(0);
    mask.bits = static_cast<std::uint32_t>(set);
    return mask;
  }
};

template <>
SPARSECORE_INLINE Vec<float> load(const float* p, const LaneMask<float>& m) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(m.bits), p);
}
template <>
SPARSECORE_INLINE Vec<double> load(const double* p, const LaneMask<double>& m) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(m.bits), p);
}
template <>
SPARSECORE_INLINE Vec<std::int32_t> load(const std::int32_t* p, const LaneMask<std::int32_t>& m) {
  return reinterpret_cast<Vec<std::int32_t>>(
      _mm512_maskz_loadu_epi32(static_cast<__mmask16>(m.bits), p));
}
template <>
SPARSECORE_INLINE void store(float* p, Vec<float> v, const LaneMask<float>& m) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(m.bits), v);
}
template <>
SPARSECORE_INLINE void store(double* p, Vec<double> v, const LaneMask<double>& m) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(m.bits), v);
}
template <>
SPARSECORE_INLINE void store(std::int32_t* p, Vec<std::int32_t> v,
                             const LaneMask<std::int32_t>& m) {
  _mm512_mask_storeu_epi32(p, static_cast<__mmask16>(m.bits), reinterpret_cast<__m512i>(v));
}

template <>
SPARSECORE_INLINE Vec<float> gather(const float* base, const std::uint32_t* index) {
  return _mm512_i32gather_ps(_mm512_loadu_si512(index), base, 4);
}
template <>
SPARSECORE_INLINE Vec<double> gather(const double* base, const std::uint32_t* index) {
  return _mm512_i32gather_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), base, 8);
}
template <>
SPARSECORE_INLINE Vec<std::int32_t> gather(const std::int32_t* base, const std::uint32_t* index) {
  return reinterpret_cast<Vec<std::int32_t>>(
      _mm512_i32gather_epi32(_mm512_loadu_si512(index), base, 4));
}

template <>
SPARSECORE_INLINE Vec<float> gather(const float* base, const std::uint32_t* index,
                                    const LaneMask<float>& m) {
  const auto mask = static_cast<__mmask16>(m.bits);
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, _mm512_maskz_loadu_epi32(mask, index),
                                  base, 4);
}
template <>
SPARSECORE_INLINE Vec<double> gather(const double* base, const std::uint32_t* index,
                                     const LaneMask<double>& m) {
  const auto mask = static_cast<__mmask8>(m.bits);
  return _mm512_mask_i32gather_pd(_mm512_setzero_pd(), mask, _mm256_maskz_loadu_epi32(mask, index),
                                  base, 8);
}
template <>
SPARSECORE_INLINE Vec<std::int32_t> gather(const std::int32_t* base, const std::uint32_t* index,
                                           const LaneMask<std::int32_t>& m) {
  const auto mask = static_cast<__mmask16>(m.bits);
  return reinterpret_cast<Vec<std::int32_t>>(_mm512_mask_i32gather_epi32(
      _mm512_setzero_si512(), mask, _mm512_maskz_loadu_epi32(mask, index), base, 4));
}

SPARSECORE_INLINE Vec<float> load_half(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SPARSECORE_INLINE void store_half(Half* p, Vec<float> v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
constexpr bool kHasHalf = true;

// {p, p, q, q, p, p, q, q, ...}
SPARSECORE_INLINE Vec<std::uint32_t> alternate_pairs(std::uint32_t p, std::uint32_t q) {
  return reinterpret_cast<Vec<std::uint32_t>>(
      _mm512_mask_set1_epi32(_mm512_set1_epi32(static_cast<int>(p)), 0xcccc, static_cast<int>(q)));
}
// Within each four lanes, the one that the index's two lowest bits name; other bits mean nothing.
SPARSECORE_INLINE Vec<float> permute_quads(Vec<float> v, Vec<std::uint32_t> index) {
  return _mm512_permutevar_ps(v, reinterpret_cast<__m512i>(index));
}
constexpr bool kHasPermuteQuads = true;

#elif defined(__AVX2__)

template <class T>
struct LaneMask {
  __m256i lanes;
  SPARSECORE_INLINE explicit LaneMask(std::int64_t count) {
    if constexpr (sizeof(T) == 4) {
      lanes = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    } else {
      lanes = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    }
  }
  static SPARSECORE_INLINE LaneMask of_bits(std::uint64_t set) {  // as signs: all that counts
    LaneMask mask(0);
    if constexpr (sizeof(T) == 4) {
      mask.lanes = _mm256_sllv_epi32(_mm256_set1_epi32(static_cast<int>(set)),
                                     _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24));
    } else {
      mask.lanes = _mm256_sllv_epi64(_mm256_set1_epi64x(static_cast<std::int64_t>(set)),
                                     _mm256_setr_epi64x(63, 62, 61, 60));
    }
    return mask;
  }
};

template <>
SPARSECORE_INLINE Vec<float> load(const float* p, const LaneMask<float>& m) {
  return _mm256_maskload_ps(p, m.lanes);
}
template <>
SPARSECORE_INLINE Vec<double> load(const double* p, const LaneMask<double>& m) {
  return _mm256_maskload_pd(p, m.lanes);
}
template <>
SPARSECORE_INLINE Vec<std::int32_t> load(const std::int32_t* p, const LaneMask<std::int32_t>& m) {
  return reinterpret_cast<Vec<std::int32_t>>(_mm256_maskload_epi32(p, m.lanes));
}
template <>
SPARSECORE_INLINE void store(float* p, Vec<float> v, const LaneMask<float>& m) {
  _mm256_maskstore_ps(p, m.lanes, v);
}
template <>
SPARSECORE_INLINE void store(double* p, Vec<double> v, const LaneMask<double>& m) {
  _mm256_maskstore_pd(p, m.lanes, v);
}
template <>
SPARSECORE_INLINE void store(std::int32_t* p, Vec<std::int32_t> v,
                             const LaneMask<std::int32_t>& m) {
  _mm256_maskstore_epi32(p, m.lanes, reinterpret_cast<__m256i>(v));
}

template <>
SPARSECORE_INLINE Vec<float> gather(const float* base, const std::uint32_t* index) {
  return _mm256_i32gather_ps(base, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), 4);
}
template <>
SPARSECORE_INLINE Vec<double> gather(const double* base, const std::uint32_t* index) {
  return _mm256_i32gather_pd(base, _mm_loadu_si128(reinterpret_cast<const __m128i*>(index)), 8);
}
template <>
SPARSECORE_INLINE Vec<std::int32_t> gather(const std::int32_t* base, const std::uint32_t* index) {
  return reinterpret_cast<Vec<std::int32_t>>(
      _mm256_i32gather_epi32(base, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), 4));
}

template <>
SPARSECORE_INLINE Vec<float> gather(const float* base, const std::uint32_t* index,
                                    const LaneMask<float>& m) {
  const __m256i columns = _mm256_maskload_epi32(reinterpret_cast<const int*>(index), m.lanes);
  return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), base, columns, _mm256_castsi256_ps(m.lanes),
                                  4);
}
template <>
SPARSECORE_INLINE Vec<double> gather(const double* base, const std::uint32_t* index,
                                     const LaneMask<double>& m) {
  // The low halves of the 64-bit lane masks are the masks of the 32-bit indices.
  const __m128i half = _mm256_castsi256_si128(
      _mm256_permutevar8x32_epi32(m.lanes, _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0)));
  const __m128i columns = _mm_maskload_epi32(reinterpret_cast<const int*>(index), half);
  return _mm256_mask_i32gather_pd(_mm256_setzero_pd(), base, columns, _mm256_castsi256_pd(m.lanes),
                                  8);
}
template <>
SPARSECORE_INLINE Vec<std::int32_t> gather(const std::int32_t* base, const std::uint32_t* index,
                                           const LaneMask<std::int32_t>& m) {
  const __m256i columns = _mm256_maskload_epi32(reinterpret_cast<const int*>(index), m.lanes);
  return reinterpret_cast<Vec<std::int32_t>>(
      _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), base, columns, m.lanes, 4));
}

SPARSECORE_INLINE Vec<float> load_half(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SPARSECORE_INLINE void store_half(Half* p, Vec<float> v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
constexpr bool kHasHalf = true;

SPARSECORE_INLINE Vec<std::uint32_t> alternate_pairs(std::uint32_t p, std::uint32_t q) {
  return reinterpret_cast<Vec<std::uint32_t>>(_mm256_blend_epi32(
      _mm256_set1_epi32(static_cast<int>(p)), _mm256_set1_epi32(static_cast<int>(q)), 0xcc));
}
SPARSECORE_INLINE Vec<float> permute_quads(Vec<float> v, Vec<std::uint32_t> index) {
  return _mm256_permutevar_ps(v, reinterpret_cast<__m256i>(index));
}
constexpr bool kHasPermuteQuads = true;

#else

template <class T>
struct LaneMask {
  std::uint32_t bits;
  SPARSECORE_INLINE explicit LaneMask(std::int64_t count)
      : bits(static_cast<std::uint32_t>((1u << count) - 1u)) {}
  static SPARSECORE_INLINE LaneMask of_bits(std::uint64_t set) {
    LaneMask mask(0);
    mask.bits = static_cast<std::uint32_t>(set);
    return mask;
  }
  SPARSECORE_INLINE bool has(int lane) const { return (bits >> lane & 1u) != 0; }
};

template <class T>
SPARSECORE_INLINE Vec<T> load(const T* p, const LaneMask<T>& m) {
  Vec<T> v = {};
  for (int i = 0; i < kLanes<T>; ++i) {
    if (m.has(i)) v[i] = p[i];
  }
  return v;
}
template <class T>
SPARSECORE_INLINE void store(T* p, Vec<T> v, const LaneMask<T>& m) {
  for (int i = 0; i < kLanes<T>; ++i) {
    if (m.has(i)) p[i] = v[i];
  }
}
template <class T>
SPARSECORE_INLINE Vec<T> gather(const T* base, const std::uint32_t* index) {
  Vec<T> v;
  for (int i = 0; i < kLanes<T>; ++i) v[i] = base[index[i]];
  return v;
}
template <class T>
SPARSECORE_INLINE Vec<T> gather(const T* base, const std::uint32_t* index, const LaneMask<T>& m) {
  Vec<T> v = {};
  for (int i = 0; i < kLanes<T>; ++i) {
    if (m.has(i)) v[i] = base[index[i]];
  }
  return v;
}

constexpr bool kHasHalf = false;
constexpr bool kHasPermuteQuads = false;

#endif

#if defined(__AVX2__)
SPARSECORE_INLINE Vec<std::int32_t> permute_quads(Vec<std::int32_t> v, Vec<std::uint32_t> index) {
  return reinterpret_cast<Vec<std::int32_t>>(permute_quads(reinterpret_cast<Vec<float>>(v), index));
}
#endif

}  // namespace sparsecore::SPARSECORE_TARGET
