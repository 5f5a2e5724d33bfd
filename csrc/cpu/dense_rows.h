// The nonzeros of a dense row: their number; their values and columns, in order.
//
// Without a branch on what a row holds: a vector's nonzeros are one bit each, and the bits are the
// argument of a compressing shuffle (64-byte vectors), or index a table of permutations (32-byte).
// Items and columns of all widths go through 32-bit lanes, which both can move; 64-bit items one by
// one. (Intrinsics here: nothing else compresses.) A vector is stored whole, and the next one over
// what it left undefined, until the end of the row's room is near. Bytes: one read of the row; for
// each nonzero its value and column written. About 8 cycles for 16 items, 64-byte vectors. Bound by
// memory.
#pragma once

#include <cstdint>

#include "../kernels.h"
#include "fetch.h"
#include "simd.h"

namespace sparsecore::SPARSECORE_TARGET {

// All bits but the sign of floating items, so that -0.0 is zero.
template <class Bits>
SPARSECORE_INLINE Bits nonzero_mask(DType dtype) {
  return is_floating(dtype) ? static_cast<Bits>(static_cast<Bits>(~Bits{0}) >> 1)
                            : static_cast<Bits>(~Bits{0});
}

#if defined(__AVX2__)

template <class Bits>
SPARSECORE_INLINE std::int64_t zeros_of_32_bytes(const Bits* row, Bits mask) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
  const __m256i zero = _mm256_setzero_si256();
  __m256i is_zero;
  if constexpr (sizeof(Bits) == 1) {
    is_zero = _mm256_cmpeq_epi8(
        _mm256_and_si256(x, _mm256_set1_epi8(static_cast<std::int8_t>(mask))), zero);
  } else if constexpr (sizeof(Bits) == 2) {
    is_zero = _mm256_cmpeq_epi16(
        _mm256_and_si256(x, _mm256_set1_epi16(static_cast<std::int16_t>(mask))), zero);
  } else if constexpr (sizeof(Bits) == 4) {
    is_zero = _mm256_cmpeq_epi32(
        _mm256_and_si256(x, _mm256_set1_epi32(static_cast<std::int32_t>(mask))), zero);
  } else {
    is_zero = _mm256_cmpeq_epi64(
        _mm256_and_si256(x, _mm256_set1_epi64x(static_cast<std::int64_t>(mask))), zero);
  }
  const auto bytes = static_cast<std::uint32_t>(_mm256_movemask_epi8(is_zero));
  return __builtin_popcount(bytes) / static_cast<int>(sizeof(Bits));
}

// Items of up to 32 bits in 32-bit lanes, and back.
#if defined(__AVX512F__)
using Lanes = __m512i;
constexpr std::int64_t kRowLanes = 16;
template <class Bits>
SPARSECORE_INLINE Lanes load_lanes(const Bits* p) {
  if constexpr (sizeof(Bits) == 1) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  } else if constexpr (sizeof(Bits) == 2) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  } else {
    return _mm512_loadu_si512(p);
  }
}
template <class Bits>
SPARSECORE_INLINE void store_lanes(Bits* p, Lanes v) {
  if constexpr (sizeof(Bits) == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  } else if constexpr (sizeof(Bits) == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  } else {
    _mm512_storeu_si512(p, v);
  }
}
SPARSECORE_INLINE std::uint32_t nonzero_lanes(Lanes v, std::uint32_t mask) {
  return _mm512_test_epi32_mask(v, _mm512_set1_epi32(static_cast<int>(mask)));
}
struct Compression {
  __mmask16 kept;
  SPARSECORE_INLINE explicit Compression(std::uint32_t bits) : kept(static_cast<__mmask16>(bits)) {}
  SPARSECORE_INLINE Lanes operator()(Lanes v) const { return _mm512_maskz_compress_epi32(kept, v); }
};
SPARSECORE_INLINE Lanes column_lanes(std::uint32_t first) {
  return _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)),
                          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
#else
using Lanes = __m256i;
constexpr std::int64_t kRowLanes = 8;
template <class Bits>
SPARSECORE_INLINE Lanes load_lanes(const Bits* p) {
  if constexpr (sizeof(Bits) == 1) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  } else if constexpr (sizeof(Bits) == 2) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  } else {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
}
template <class Bits>
SPARSECORE_INLINE void store_lanes(Bits* p, Lanes v) {
  if constexpr (sizeof(Bits) == 4) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  } else {
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    if constexpr (sizeof(Bits) == 2) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), words);
    } else {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
  }
}
SPARSECORE_INLINE std::uint32_t nonzero_lanes(Lanes v, std::uint32_t mask) {
  const __m256i zero = _mm256_cmpeq_epi32(
      _mm256_and_si256(v, _mm256_set1_epi32(static_cast<int>(mask))), _mm256_setzero_si256());
  return ~static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(zero))) & 255u;
}
struct Permutations {
  alignas(64) std::uint8_t lanes[256][8];  // the set bits, in order
};
constexpr Permutations make_permutations() {
  Permutations table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    unsigned n = 0;
    for (unsigned i = 0; i < 8; ++i) {
      if (byte >> i & 1u) table.lanes[byte][n++] = static_cast<std::uint8_t>(i);
    }
  }
  return table;
}
constexpr Permutations kPermutations = make_permutations();
struct Compression {
  __m256i order;
  SPARSECORE_INLINE explicit Compression(std::uint32_t bits)
      : order(_mm256_cvtepu8_epi32(
            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kPermutations.lanes[bits])))) {}
  SPARSECORE_INLINE Lanes operator()(Lanes v) const {
    return _mm256_permutevar8x32_epi32(v, order);
  }
};
SPARSECORE_INLINE Lanes column_lanes(std::uint32_t first) {
  return _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(first)),
                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

#endif

template <class Bits>
std::int64_t count_row(const Bits* row, Bits mask, std::int64_t cols) {
  std::int64_t c = 0, zeros = 0;
#if defined(__AVX2__)
  constexpr std::int64_t kItems = 32 / sizeof(Bits);
  for (; c + 2 * kItems <= cols; c += 2 * kItems) {
    fetch_ahead(row + c);
    zeros += zeros_of_32_bytes(row + c, mask) + zeros_of_32_bytes(row + c + kItems, mask);
  }
#endif
  for (; c < cols; ++c) zeros += (row[c] & mask) == 0;
  return cols - zeros;
}

// Returns the number of nonzeros, or -1 where it is larger than `room`.
template <class Bits, class I>
std::int64_t fill_row(const Bits* row, Bits mask, std::int64_t cols, std::int64_t room,
                      Bits* values, I* columns) {
  std::int64_t c = 0, n = 0;
#if defined(__AVX2__)
  if constexpr (sizeof(Bits) <= 4 && sizeof(I) <= 4) {
    for (; c + kRowLanes <= cols && n + kRowLanes <= room; c += kRowLanes) {
      fetch_ahead(row + c);
      const Lanes items = load_lanes(row + c);
      const std::uint32_t kept = nonzero_lanes(items, mask);
      const Compression compressed(kept);
      store_lanes(values + n, compressed(items));
      store_lanes(columns + n, compressed(column_lanes(static_cast<std::uint32_t>(c))));
      n += __builtin_popcount(kept);
    }
    Bits last_values[kRowLanes];
    I last_columns[kRowLanes];
    for (; c + kRowLanes <= cols; c += kRowLanes) {
      const Lanes items = load_lanes(row + c);
      const std::uint32_t kept = nonzero_lanes(items, mask);
      if (kept == 0) continue;
      const Compression compressed(kept);
      store_lanes(last_values, compressed(items));
      store_lanes(last_columns, compressed(column_lanes(static_cast<std::uint32_t>(c))));
      const int count = __builtin_popcount(kept);
      if (n + count > room) return -1;
      for (int i = 0; i < count; ++i, ++n) {
        values[n] = last_values[i];
        columns[n] = last_columns[i];
      }
    }
  }
#endif
  for (; c < cols; ++c) {
    if ((row[c] & mask) == 0) continue;
    if (n == room) return -1;
    values[n] = row[c];
    columns[n++] = static_cast<I>(c);
  }
  return n;
}

inline std::int64_t count_nonzeros(const void* row, DType dtype, std::int64_t cols) {
  return with_item_size(item_size(dtype), [&]<class Bits>(Bits) {
    return count_row(static_cast<const Bits*>(row), nonzero_mask<Bits>(dtype), cols);
  });
}

inline std::int64_t fill_nonzeros(const void* row, DType dtype, std::int64_t cols,
                                  std::int64_t room, void* values, void* columns,
                                  int column_width) {
  return with_item_size(item_size(dtype), [&]<class Bits>(Bits) {
    return with_item_size(column_width, [&]<class I>(I) {
      return fill_row(static_cast<const Bits*>(row), nonzero_mask<Bits>(dtype), cols, room,
                      static_cast<Bits*>(values), static_cast<I*>(columns));
    });
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
