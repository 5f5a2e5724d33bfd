// Storage <-> accumulator conversions of runs and blocks.
#pragma once

#include <cstdint>

#include "../views.h"
#include "simd.h"
#include "transpose.h"
#include "widen.h"

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
  if constexpr (__is_same(T, Acc)) {
    for (; i + kLanes<Acc> <= n; i += kLanes<Acc>) store(dst + i, load(src + i));
    const LaneMask<Acc> rest(n - i);
    return store(dst + i, load(src + i, rest), rest);
  }
  for (; i < n; ++i) dst[i] = load_as<Acc>(src[i]);
}

template <class Acc>
void load_values(const void* data, DType dtype, std::int64_t first, std::int64_t n, Acc* dst) {
  with_storage<Acc>(data, dtype, [&](auto* src) { load_run(src + first, 1, n, dst); });
}

// load_panel of a block whose columns are the closer lines: transposed a vector of columns at a
// time, from where they are or from converted copies of 64 rows.
template <class Acc, class T>
SPARSECORE_INLINE void load_columns(const T* data, const MatrixView& block, Acc* panel,
                                    std::int64_t panel_stride) {
  constexpr std::int64_t kCols = kLanes<Acc>, kRows = 64;
  const std::int64_t rs = block.row_stride, cs = block.col_stride;
  alignas(64) Acc runs[kCols * kRows];
  for (std::int64_t r = 0; r < block.rows; r += kRows) {
    const std::int64_t nr = block.rows - r < kRows ? block.rows - r : kRows;
    for (std::int64_t c = 0; c < block.cols; c += kCols) {
      const std::int64_t nc = block.cols - c < kCols ? block.cols - c : kCols;
      const T* const from = data + r * rs + c * cs;
      Acc* const to = panel + r * panel_stride + c;
      if constexpr (__is_same(T, Acc)) {
        if (rs == 1) {
          transpose(from, cs, to, panel_stride, nc, nr);
          continue;
        }
      }
      for (std::int64_t j = 0; j < nc; ++j) load_run(from + j * cs, rs, nr, runs + j * kRows);
      transpose(static_cast<const Acc*>(runs), kRows, to, panel_stride, nc, nr);
    }
  }
}

// panel[r * panel_stride + j] = block[r][j], converted, from any strides.
template <class Acc>
void load_panel(const MatrixView& block, Acc* panel, std::int64_t panel_stride) {
  const std::int64_t rs = block.row_stride, cs = block.col_stride;
  with_storage<Acc>(block.data, block.dtype, [&](auto* data) {
    const bool columns_lie_closer = (rs < 0 ? -rs : rs) < (cs < 0 ? -cs : cs);
    if (cs == 1 && rs == block.cols && panel_stride == block.cols) {
      return load_run(data, 1, block.rows * block.cols, panel);
    }
    if (!columns_lie_closer || block.cols == 1) {
      for (std::int64_t r = 0; r < block.rows; ++r) {
        load_run(data + r * rs, cs, block.cols, panel + r * panel_stride);
      }
      return;
    }
    load_columns(data, block, panel, panel_stride);
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
