// Storage <-> accumulator conversions of runs and blocks, and the transposing copy.
#pragma once

#include <cstdint>

#include "../views.h"
#include "simd.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc>
SPARSECORE_INLINE Acc load_as(double v) {
  return static_cast<Acc>(v);
}
template <class Acc>
SPARSECORE_INLINE Acc load_as(float v) {
  return static_cast<Acc>(v);
}
template <class Acc>
SPARSECORE_INLINE Acc load_as(Half v) {
  return static_cast<Acc>(to_float(v));
}
template <class Acc>
SPARSECORE_INLINE Acc load_as(BFloat16 v) {
  return static_cast<Acc>(to_float(v));
}
template <class Acc>
SPARSECORE_INLINE Acc load_as(std::int8_t v) {
  return static_cast<Acc>(v);
}
template <class Acc>
SPARSECORE_INLINE Acc load_as(std::int32_t v) {
  return static_cast<Acc>(v);
}

// Calls body(pointer of the storage type); the pairs that ops.cpp never lets through (floating
// storage into an int32 accumulator) are not instantiated.
template <class Acc, class Body>
SPARSECORE_INLINE void with_storage(const void* data, DType dtype, Body body) {
  switch (dtype) {
    case DType::kInt8:
      return body(static_cast<const std::int8_t*>(data));
    case DType::kInt32:
      return body(static_cast<const std::int32_t*>(data));
    default:
      break;
  }
  if constexpr (DTypeOf<Acc>::value != DType::kInt32) {
    switch (dtype) {
      case DType::kFloat64:
        return body(static_cast<const double*>(data));
      case DType::kFloat32:
        return body(static_cast<const float*>(data));
      case DType::kFloat16:
        return body(static_cast<const Half*>(data));
      case DType::kBFloat16:
        return body(static_cast<const BFloat16*>(data));
      default:
        return;
    }
  }
}

// dst[i] = src[i * stride], converted.
template <class Acc, class T>
SPARSECORE_INLINE void load_run(const T* src, std::int64_t stride, std::int64_t n, Acc* dst) {
  if (stride != 1) {
    for (std::int64_t i = 0; i < n; ++i) dst[i] = load_as<Acc>(src[i * stride]);
    return;
  }
  std::int64_t i = 0;
  if constexpr (kHasHalf && __is_same(T, Half) && __is_same(Acc, float)) {
    for (; i + kLanes<float> <= n; i += kLanes<float>) store(dst + i, load_half(src + i));
  }
  for (; i < n; ++i) dst[i] = load_as<Acc>(src[i]);
}

template <class Acc>
void load_values(const void* data, DType dtype, std::int64_t first, std::int64_t n, Acc* dst) {
  with_storage<Acc>(data, dtype, [&](auto* src) { load_run(src + first, 1, n, dst); });
}

// dst[c * dst_stride + r] = src[r * src_stride + c].
//
// Four-byte types go through 4x4 blocks in registers: 4 loads, 8 shuffles, 4 stores for 16
// elements, where a scalar copy needs 32 memory operations.
template <class T>
SPARSECORE_INLINE void transpose(const T* src, std::int64_t src_stride, T* dst,
                                 std::int64_t dst_stride, std::int64_t rows, std::int64_t cols) {
  std::int64_t r = 0;
  if constexpr (sizeof(T) == 4) {
    typedef T Quad __attribute__((vector_size(16)));
    typedef T QuadAt __attribute__((vector_size(16), aligned(4), may_alias));
    const auto quad = [](const T* p) -> Quad { return *reinterpret_cast<const QuadAt*>(p); };
    for (; r + 4 <= rows; r += 4) {
      const T* s = src + r * src_stride;
      T* d = dst + r;
      std::int64_t c = 0;
      for (; c + 4 <= cols; c += 4) {
        const Quad a = quad(s + c), b = quad(s + src_stride + c);
        const Quad e = quad(s + 2 * src_stride + c), f = quad(s + 3 * src_stride + c);
        const Quad ab_lo = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const Quad ab_hi = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const Quad ef_lo = __builtin_shufflevector(e, f, 0, 4, 1, 5);
        const Quad ef_hi = __builtin_shufflevector(e, f, 2, 6, 3, 7);
        const auto put = [&](std::int64_t i, Quad v) {
          *reinterpret_cast<QuadAt*>(d + (c + i) * dst_stride) = v;
        };
        put(0, __builtin_shufflevector(ab_lo, ef_lo, 0, 1, 4, 5));
        put(1, __builtin_shufflevector(ab_lo, ef_lo, 2, 3, 6, 7));
        put(2, __builtin_shufflevector(ab_hi, ef_hi, 0, 1, 4, 5));
        put(3, __builtin_shufflevector(ab_hi, ef_hi, 2, 3, 6, 7));
      }
      for (; c < cols; ++c) {
        for (int i = 0; i < 4; ++i) d[c * dst_stride + i] = s[i * src_stride + c];
      }
    }
  }
  for (; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) dst[c * dst_stride + r] = src[r * src_stride + c];
  }
}

// panel[r * panel_stride + j] = block[r][j], converted, from any strides.
template <class Acc>
void load_panel(const MatrixView& block, Acc* panel, std::int64_t panel_stride) {
  const std::int64_t rs = block.row_stride, cs = block.col_stride;
  with_storage<Acc>(block.data, block.dtype, [&](auto* data) {
    const bool columns_lie_closer = (rs < 0 ? -rs : rs) < (cs < 0 ? -cs : cs);
    if (!columns_lie_closer || block.cols == 1) {
      for (std::int64_t r = 0; r < block.rows; ++r) {
        load_run(data + r * rs, cs, block.cols, panel + r * panel_stride);
      }
      return;
    }
    // Column-major: read runs down the columns, then transpose blocks of 8 columns x 64 rows.
    constexpr std::int64_t kCols = 8, kRows = 64;
    alignas(64) Acc runs[kCols * kRows];
    for (std::int64_t r = 0; r < block.rows; r += kRows) {
      const std::int64_t nr = block.rows - r < kRows ? block.rows - r : kRows;
      for (std::int64_t c = 0; c < block.cols; c += kCols) {
        const std::int64_t nc = block.cols - c < kCols ? block.cols - c : kCols;
        for (std::int64_t j = 0; j < nc; ++j) {
          load_run(data + r * rs + (c + j) * cs, rs, nr, runs + j * kRows);
        }
        transpose(runs, kRows, panel + r * panel_stride + c, panel_stride, nc, nr);
      }
    }
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
