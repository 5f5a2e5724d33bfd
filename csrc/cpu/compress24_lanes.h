// The 2:4 selection of 32 bytes in one register, by size of item: what compress24.h is made of
// where the target has 32-byte integer vectors: integer operations on sizes that no other kernel
// computes in, so not in simd.h.
#pragma once

#include <cstdint>

#include "../groups24.h"
#include "fetch.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace sparsecore::SPARSECORE_TARGET {

#if defined(__AVX2__)

// By a byte of two groups' kept columns.
struct Compress24Tables {
  std::uint8_t metadata[256];                // 0: more than two in a group
  alignas(64) std::uint64_t spread[256];     // a byte, 0 or 1, for each bit
  alignas(64) std::uint8_t bytes[256][4];    // the slots' columns among the eight
  alignas(64) std::uint8_t halves[256][8];   // their bytes, of items of two
  alignas(64) std::uint32_t words[256][4];   // their columns again
  alignas(64) std::uint32_t doubles[16][4];  // their words, of items of eight: one group
};

constexpr Compress24Tables make_compress24_tables() {
  Compress24Tables t{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned low = nibble_of(byte & 15u), high = nibble_of(byte >> 4);
    t.metadata[byte] = static_cast<std::uint8_t>(low == 0 || high == 0 ? 0 : low | high << 4);
    const unsigned columns[4] = {low & 3u, low >> 2, 4 + (high & 3u), 4 + (high >> 2)};
    for (unsigned s = 0; s < 4; ++s) {
      t.bytes[byte][s] = static_cast<std::uint8_t>(columns[s]);
      t.halves[byte][2 * s] = static_cast<std::uint8_t>(2 * columns[s]);
      t.halves[byte][2 * s + 1] = static_cast<std::uint8_t>(2 * columns[s] + 1);
      t.words[byte][s] = columns[s];
      if (byte < 16 && s < 2) {
        t.doubles[byte][2 * s] = 2 * columns[s];
        t.doubles[byte][2 * s + 1] = 2 * columns[s] + 1;
      }
    }
    for (unsigned i = 0; i < 8; ++i) {
      t.spread[byte] |= static_cast<std::uint64_t>(byte >> i & 1u) << (8 * i);
    }
  }
  return t;
}

constexpr Compress24Tables kCompress24 = make_compress24_tables();

// Integer vectors of items of one size: magnitudes that compare as signed numbers, rotations by
// 1 to 3 within four, comparisons, one bit a column, and the chosen values of 32 bytes.
template <class Bits>
struct Lanes24;

template <>
struct Lanes24<std::uint64_t> {
  static SPARSECORE_INLINE __m256i magnitude(__m256i x) {
    return _mm256_and_si256(x, _mm256_set1_epi64x(0x7fffffffffffffff));
  }
  template <int kBy>
  static SPARSECORE_INLINE __m256i rotate(__m256i a) {
    return _mm256_permute4x64_epi64(a, kBy == 1 ? 0x39 : kBy == 2 ? 0x4e : 0x93);
  }
  static SPARSECORE_INLINE __m256i ties(int a, int b, int c, int d) {
    return _mm256_setr_epi64x(a, b, c, d);
  }
  static SPARSECORE_INLINE __m256i add(__m256i a, __m256i b) { return _mm256_add_epi64(a, b); }
  static SPARSECORE_INLINE __m256i greater(__m256i a, __m256i b) {
    return _mm256_cmpgt_epi64(a, b);
  }
  static SPARSECORE_INLINE __m256i equal(__m256i a, __m256i b) { return _mm256_cmpeq_epi64(a, b); }
  static SPARSECORE_INLINE __m256i all(int v) { return _mm256_set1_epi64x(v); }
  static SPARSECORE_INLINE std::uint32_t bits(__m256i mask) {
    return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(mask)));
  }
  static SPARSECORE_INLINE __m128i choose(__m256i x, std::uint32_t kept) {
    const __m128i place =
        _mm_load_si128(reinterpret_cast<const __m128i*>(kCompress24.doubles[kept]));
    return _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(x, _mm256_castsi128_si256(place)));
  }
};

template <>
struct Lanes24<std::uint32_t> {
  static SPARSECORE_INLINE __m256i magnitude(__m256i x) {
    return _mm256_and_si256(x, _mm256_set1_epi32(0x7fffffff));
  }
  template <int kBy>
  static SPARSECORE_INLINE __m256i rotate(__m256i a) {
    return _mm256_shuffle_epi32(a, kBy == 1 ? 0x39 : kBy == 2 ? 0x4e : 0x93);
  }
  static SPARSECORE_INLINE __m256i ties(int a, int b, int c, int d) {
    return _mm256_setr_epi32(a, b, c, d, a, b, c, d);
  }
  static SPARSECORE_INLINE __m256i add(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
  static SPARSECORE_INLINE __m256i greater(__m256i a, __m256i b) {
    return _mm256_cmpgt_epi32(a, b);
  }
  static SPARSECORE_INLINE __m256i equal(__m256i a, __m256i b) { return _mm256_cmpeq_epi32(a, b); }
  static SPARSECORE_INLINE __m256i all(int v) { return _mm256_set1_epi32(v); }
  static SPARSECORE_INLINE std::uint32_t bits(__m256i mask) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(mask)));
  }
  static SPARSECORE_INLINE __m128i choose(__m256i x, std::uint32_t kept) {
    const __m128i place = _mm_load_si128(reinterpret_cast<const __m128i*>(kCompress24.words[kept]));
    return _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(x, _mm256_castsi128_si256(place)));
  }
};

template <>
struct Lanes24<std::uint16_t> {
  static SPARSECORE_INLINE __m256i magnitude(__m256i x) {
    return _mm256_and_si256(x, _mm256_set1_epi16(0x7fff));
  }
  template <int kBy>
  static SPARSECORE_INLINE __m256i rotate(__m256i a) {
    constexpr int kOrder = kBy == 1 ? 0x39 : kBy == 2 ? 0x4e : 0x93;
    return _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(a, kOrder), kOrder);
  }
  static SPARSECORE_INLINE __m256i ties(int a, int b, int c, int d) {
    const auto half = [](int v) { return static_cast<std::uint64_t>(v & 0xffff); };
    return _mm256_set1_epi64x(
        static_cast<std::int64_t>(half(a) | half(b) << 16 | half(c) << 32 | half(d) << 48));
  }
  static SPARSECORE_INLINE __m256i add(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
  static SPARSECORE_INLINE __m256i greater(__m256i a, __m256i b) {
    return _mm256_cmpgt_epi16(a, b);
  }
  static SPARSECORE_INLINE __m256i equal(__m256i a, __m256i b) { return _mm256_cmpeq_epi16(a, b); }
  static SPARSECORE_INLINE __m256i all(int v) {
    return _mm256_set1_epi16(static_cast<std::int16_t>(v));
  }
  static SPARSECORE_INLINE std::uint32_t bits(__m256i mask) {
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(mask), _mm256_extracti128_si256(mask, 1));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes));
  }
  static SPARSECORE_INLINE __m128i choose(__m256i x, std::uint32_t kept) {
    const auto place = [](std::uint32_t byte) {
      return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kCompress24.halves[byte]));
    };
    const __m256i chosen =
        _mm256_shuffle_epi8(x, _mm256_set_m128i(place(kept >> 8), place(kept & 255u)));
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(chosen, 0x08));
  }
};

template <>
struct Lanes24<std::uint8_t> {
  // 0 ... 128, less 64: signed, with room for one less.
  static SPARSECORE_INLINE __m256i magnitude(__m256i x) {
    return _mm256_sub_epi8(_mm256_abs_epi8(x), _mm256_set1_epi8(64));
  }
  template <int kBy>
  static SPARSECORE_INLINE __m256i rotate(__m256i a) {
    const int order = kBy == 1 ? 0x00030201 : kBy == 2 ? 0x01000302 : 0x02010003;
    const __m256i four = _mm256_set1_epi32(order);
    return _mm256_shuffle_epi8(
        a, _mm256_add_epi32(four, _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                                    0x04040404, 0x08080808, 0x0c0c0c0c)));
  }
  static SPARSECORE_INLINE __m256i ties(int a, int b, int c, int d) {
    const auto byte = [](int v) { return static_cast<std::uint32_t>(v & 0xff); };
    return _mm256_set1_epi32(
        static_cast<int>(byte(a) | byte(b) << 8 | byte(c) << 16 | byte(d) << 24));
  }
  static SPARSECORE_INLINE __m256i add(__m256i a, __m256i b) { return _mm256_add_epi8(a, b); }
  static SPARSECORE_INLINE __m256i greater(__m256i a, __m256i b) { return _mm256_cmpgt_epi8(a, b); }
  static SPARSECORE_INLINE __m256i equal(__m256i a, __m256i b) { return _mm256_cmpeq_epi8(a, b); }
  static SPARSECORE_INLINE __m256i all(int v) {
    return _mm256_set1_epi8(static_cast<std::int8_t>(v));
  }
  static SPARSECORE_INLINE std::uint32_t bits(__m256i mask) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(mask));
  }
  static SPARSECORE_INLINE __m128i choose(__m256i x, std::uint32_t kept) {
    const auto place = [&](int shift) {
      std::uint32_t low, high;
      __builtin_memcpy(&low, kCompress24.bytes[kept >> shift & 255u], 4);
      __builtin_memcpy(&high, kCompress24.bytes[kept >> (shift + 8) & 255u], 4);
      return static_cast<std::int64_t>(low | std::uint64_t{high | 0x08080808u} << 32);
    };
    const __m256i chosen = _mm256_shuffle_epi8(x, _mm256_setr_epi64x(place(0), 0, place(16), 0));
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(chosen, 0x08));
  }
};

// All bits of the columns that are the two largest of their four.
template <class Bits>
SPARSECORE_INLINE __m256i two_largest_of(__m256i magnitude) {
  using L = Lanes24<Bits>;
  const auto comes_before = [&](__m256i other, __m256i ties) {
    return L::greater(other, L::add(magnitude, ties));
  };
  const __m256i before =
      L::add(L::add(comes_before(L::template rotate<1>(magnitude), L::ties(0, 0, 0, -1)),
                    comes_before(L::template rotate<2>(magnitude), L::ties(0, 0, -1, -1))),
             comes_before(L::template rotate<3>(magnitude), L::ties(0, -1, -1, -1)));
  return L::greater(before, L::all(-2));
}

// The mask of 64 bytes of a row, a byte for each column.
template <class Bits>
SPARSECORE_INLINE void prune_step(const Bits* row, std::uint8_t* mask) {
  using L = Lanes24<Bits>;
  constexpr int kColumns = 32 / static_cast<int>(sizeof(Bits));
  fetch_ahead(row);
  std::uint64_t kept = 0;
  for (int half = 0; half < 2; ++half) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + half * kColumns));
    kept |= std::uint64_t{L::bits(two_largest_of<Bits>(L::magnitude(x)))} << (half * kColumns);
  }
  for (int c = 0; c < 2 * kColumns; c += 8) {
    __builtin_memcpy(mask + c, &kCompress24.spread[kept >> c & 255u], 8);
  }
}

// 64 bytes of a row into 32 of values, and the metadata. False: a group has more than two.
template <bool kPrune, class Bits>
SPARSECORE_INLINE bool compress_step(const Bits* row, Bits* values, std::uint8_t* metadata) {
  using L = Lanes24<Bits>;
  constexpr int kColumns = 32 / static_cast<int>(sizeof(Bits));
  const __m256i zero = L::magnitude(_mm256_setzero_si256());
  fetch_ahead(row);
  std::uint64_t kept = 0;
  for (int half = 0; half < 2; ++half) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + half * kColumns));
    const __m256i magnitude = L::magnitude(x);
    const __m256i is_zero = L::equal(magnitude, zero);
    const __m256i mask = kPrune ? _mm256_andnot_si256(is_zero, two_largest_of<Bits>(magnitude))
                                : _mm256_andnot_si256(is_zero, _mm256_set1_epi32(-1));
    const std::uint32_t bits = L::bits(mask);
    const __m128i chosen = L::choose(_mm256_and_si256(x, mask), bits);  // -0.0 becomes +0.0
    auto* const to = reinterpret_cast<__m128i*>(values + half * kColumns / 2);
    _mm_storeu_si128(to, chosen);
    kept |= std::uint64_t{bits} << (half * kColumns);
  }
  std::uint8_t least = 255;
  for (int b = 0; b < 2 * kColumns / 8; ++b) {
    metadata[b] = kCompress24.metadata[kept >> (8 * b) & 255u];
    if (metadata[b] < least) least = metadata[b];
  }
  return kPrune || least != 0;
}

#endif

}  // namespace sparsecore::SPARSECORE_TARGET
