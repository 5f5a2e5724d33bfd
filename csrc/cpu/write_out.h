// The way from accumulators to memory: epilogue, conversion to the output type, any strides.
#pragma once

#include <cassert>
#include <cstdint>

#include "../kernels.h"
#include "activations.h"
#include "convert.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc>
SPARSECORE_INLINE bool add_residual(Acc& sum, Acc residual) {
  if constexpr (__is_same(Acc, std::int32_t)) {
    return !__builtin_add_overflow(sum, residual, &sum);
  } else {
    sum += residual;
    return true;
  }
}

// n sums that are multiplied by `scale` and added to `bias`: every `step`-th of them, or always the
// same (0).
template <class Acc>
SPARSECORE_INLINE void scale_and_shift(Acc* sums, std::int64_t n, const Acc* scale, const Acc* bias,
                                       std::int64_t step) {
  if (scale != nullptr) {
    for (std::int64_t i = 0; i < n; ++i) sums[i] *= scale[i * step];
  }
  if (bias != nullptr) {
    for (std::int64_t i = 0; i < n; ++i) sums[i] += bias[i * step];
  }
}

// sums[i] += residual[i * step]. False if a sum no longer fits (int32 only).
template <class Acc, class T>
SPARSECORE_INLINE bool add_residuals(Acc* sums, std::int64_t n, const T* residual,
                                     std::int64_t step) {
  bool fits = true;
  if constexpr (__is_same(T, Acc) && !__is_same(Acc, std::int32_t)) {
    if (step == 1) {
      for (std::int64_t i = 0; i < n; ++i) sums[i] += residual[i];
      return true;
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    fits &= add_residual(sums[i], load_as<Acc>(residual[i * step]));
  }
  return fits;
}

// The activation is chosen outside the loop: a choice in it is one for each sum. (int32 has none.)
template <class Acc>
SPARSECORE_INLINE void activate_all(Acc* sums, std::int64_t n, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      for (std::int64_t i = 0; i < n; ++i) sums[i] = sums[i] < 0 ? Acc(0) : sums[i];  // NaN passes
      return;
    case Activation::kGelu:
      return gelu_all(sums, n);
    case Activation::kSilu:
      return silu_all(sums, n);
  }
}

// The residual of a block whose columns are its closer lines, transposed a piece of rows at a time.
template <class Acc>
SPARSECORE_INLINE void add_transposed(Acc* block, std::int64_t stride, const MatrixView& residual) {
  constexpr std::int64_t kRows = 16, kCols = 64;
  alignas(64) Acc piece[kRows * kCols];
  for (std::int64_t r = 0; r < residual.rows; r += kRows) {
    const std::int64_t rows = residual.rows - r < kRows ? residual.rows - r : kRows;
    for (std::int64_t c = 0; c < residual.cols; c += kCols) {
      const std::int64_t cols = residual.cols - c < kCols ? residual.cols - c : kCols;
      load_columns(static_cast<const Acc*>(residual.data) + r + c * residual.col_stride,
                   {nullptr, residual.dtype, rows, cols, 1, residual.col_stride}, piece, kCols);
      for (std::int64_t i = 0; i < rows; ++i) {
        add_residuals(block + (r + i) * stride + c, cols, piece + i * kCols, 1);
      }
    }
  }
}

// The epilogue of a block, in its rows and columns from (row, col) on. False if a sum no longer
// fits (int32 only).
template <class Acc>
SPARSECORE_INLINE bool apply_epilogue(Acc* block, std::int64_t stride, std::int64_t rows,
                                      std::int64_t cols, std::int64_t row, std::int64_t col,
                                      const LoadedEpilogue<Acc>& epilogue) {
  const auto of = [](const Acc* v, std::int64_t i) { return v == nullptr ? v : v + i; };
  bool fits = true;
  const MatrixView& m = epilogue.residual;
  const bool is_transposed = m.data != nullptr && m.dtype == DTypeOf<Acc>::value &&
                             !__is_same(Acc, std::int32_t) && m.row_stride == 1 &&
                             m.col_stride != 1;
  for (std::int64_t r = 0; r < rows; ++r) {
    scale_and_shift(block + r * stride, cols, of(epilogue.scale, row + r),
                    of(epilogue.bias, row + r), 0);
  }
  if (is_transposed) {
    const MatrixView part{
        static_cast<Acc*>(m.data) + row + col * m.col_stride, m.dtype, rows, cols, 1, m.col_stride};
    add_transposed(block, stride, part);
  } else if (m.data != nullptr) {
    with_storage<Acc>(m.data, m.dtype, [&](auto* data) {
      for (std::int64_t r = 0; r < rows; ++r) {
        fits &= add_residuals(block + r * stride, cols,
                              data + (row + r) * m.row_stride + col * m.col_stride, m.col_stride);
      }
    });
  }
  if (stride == cols) {
    activate_all(block, rows * cols, epilogue.activation);
  } else {
    for (std::int64_t r = 0; r < rows; ++r) {
      activate_all(block + r * stride, cols, epilogue.activation);
    }
  }
  return fits;
}

// The same of n sums of one column, where a row at a time would each ask what there is to do.
template <class Acc>
SPARSECORE_INLINE bool apply_down(Acc* sums, std::int64_t n, std::int64_t row, std::int64_t col,
                                  const LoadedEpilogue<Acc>& epilogue) {
  const auto of = [&](const Acc* v) { return v == nullptr ? v : v + row; };
  bool fits = true;
  scale_and_shift(sums, n, of(epilogue.scale), of(epilogue.bias), 1);
  if (const MatrixView& m = epilogue.residual; m.data != nullptr) {
    with_storage<Acc>(m.data, m.dtype, [&](auto* data) {
      fits = add_residuals(sums, n, data + row * m.row_stride + col * m.col_stride, m.row_stride);
    });
  }
  activate_all(sums, n, epilogue.activation);
  return fits;
}

SPARSECORE_INLINE bool store_as(double v, double* p) { return *p = v, true; }
SPARSECORE_INLINE bool store_as(float v, float* p) { return *p = v, true; }
SPARSECORE_INLINE bool store_as(float v, Half* p) { return *p = to_half(v), true; }
SPARSECORE_INLINE bool store_as(float v, BFloat16* p) { return *p = to_bfloat16(v), true; }
SPARSECORE_INLINE bool store_as(std::int32_t v, std::int32_t* p) { return *p = v, true; }
// Sums of int8 products too long for int32 are held exactly in a double (below 2^53).
SPARSECORE_INLINE bool store_as(double v, std::int32_t* p) {
  const bool fits = v >= -2147483648.0 && v <= 2147483647.0;
  if (fits) *p = static_cast<std::int32_t>(v);
  return fits;
}

template <class Acc, class T>
SPARSECORE_INLINE bool store_run(const Acc* src, std::int64_t n, T* dst) {
  bool fits = true;
  std::int64_t i = 0;
  if constexpr (kHasHalf && __is_same(T, Half) && __is_same(Acc, float)) {
    for (; i + kLanes<float> <= n; i += kLanes<float>) store_half(dst + i, load(src + i));
  }
  if constexpr (__is_same(T, Acc)) {  // runs are too short for a call of memcpy
    for (; i + kLanes<Acc> <= n; i += kLanes<Acc>) store(dst + i, load(src + i));
  }
  for (; i < n; ++i) fits &= store_as(src[i], dst + i);
  return fits;
}

// A column-major result: full runs down each column.
template <class Acc, class T>
SPARSECORE_INLINE bool store_columns(const Acc* block, std::int64_t stride, const MatrixView& out,
                                     T* data) {
  if constexpr (__is_same(T, Acc)) {
    transpose(block, stride, data, out.col_stride, out.rows, out.cols);
    return true;
  } else {
    constexpr std::int64_t kRows = kWrittenRows, kCols = 8;
    assert(out.rows <= kRows);
    alignas(64) Acc runs[kCols * kRows];
    bool fits = true;
    for (std::int64_t c = 0; c < out.cols; c += kCols) {
      const std::int64_t nc = out.cols - c < kCols ? out.cols - c : kCols;
      transpose(block + c, stride, runs, kRows, out.rows, nc);
      for (std::int64_t j = 0; j < nc; ++j) {
        fits &= store_run(runs + j * kRows, out.rows, data + (c + j) * out.col_stride);
      }
    }
    return fits;
  }
}

template <class Acc, class T>
SPARSECORE_INLINE bool store_block(const Acc* block, std::int64_t stride, const MatrixView& out) {
  T* data = static_cast<T*>(out.data);
  const std::int64_t rs = out.row_stride, cs = out.col_stride;
  bool fits = true;
  if (cs == 1) {
    for (std::int64_t r = 0; r < out.rows; ++r) {
      fits &= store_run(block + r * stride, out.cols, data + r * rs);
    }
  } else if (rs == 1) {
    fits = store_columns(block, stride, out, data);
  } else {
    for (std::int64_t r = 0; r < out.rows; ++r) {
      for (std::int64_t c = 0; c < out.cols; ++c) {
        fits &= store_as(block[r * stride + c], data + r * rs + c * cs);
      }
    }
  }
  return fits;
}

template <class Acc>
bool write_out(Acc* block, std::int64_t block_stride, std::int64_t first_row,
               std::int64_t first_col, const LoadedEpilogue<Acc>& epilogue,
               const MatrixView& target) {
  MatrixView out = target;
  bool fits = true;
  if (out.cols == 1 && block_stride == 1) {
    fits = apply_down(block, out.rows, first_row, first_col, epilogue);
    out = {out.data, out.dtype, 1, out.rows, 0, out.row_stride};
  } else {
    fits = apply_epilogue(block, block_stride, out.rows, out.cols, first_row, first_col, epilogue);
  }
  if constexpr (__is_same(Acc, double)) {
    return out.dtype == DType::kInt32 ? store_block<Acc, std::int32_t>(block, block_stride, out)
                                      : store_block<Acc, double>(block, block_stride, out);
  } else if constexpr (__is_same(Acc, float)) {
    switch (out.dtype) {
      case DType::kFloat16:
        return store_block<Acc, Half>(block, block_stride, out);
      case DType::kBFloat16:
        return store_block<Acc, BFloat16>(block, block_stride, out);
      default:
        return store_block<Acc, float>(block, block_stride, out);
    }
  } else {
    return store_block<Acc, std::int32_t>(block, block_stride, out) && fits;
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
