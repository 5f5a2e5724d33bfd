// Sampled dense-dense product: d[p] = <u[row], v[column]> for every entry p of A.
//
// Four entries of a row at once share each vector of u's row: five loads and four FMAs a vector of
// columns. Bytes: nnz * n * sizeof(Acc) of cached V; flops: 2 * nnz * n.
// Preconditions: rows of U and V are contiguous; columns < rows of V.
#pragma once

#include "../kernels.h"
#include "entries.h"
#include "shuffle.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc, int U>
SPARSECORE_INLINE void dots(const Acc* u, const Acc* const (&v)[U], std::int64_t n,
                            Acc (&result)[U]) {
  constexpr int W = kLanes<Acc>;
  Vec<Acc> sum[U] = {};
  std::int64_t j = 0;
  for (; j + W <= n; j += W) {
    const Vec<Acc> left = load(u + j);
    for (int i = 0; i < U; ++i) sum[i] = fma<Acc>(left, load(v[i] + j), sum[i]);
  }
  if (j < n) {
    const LaneMask<Acc> mask(n - j);
    const Vec<Acc> left = load(u + j, mask);
    for (int i = 0; i < U; ++i) sum[i] = fma<Acc>(left, load(v[i] + j, mask), sum[i]);
  }
  if constexpr (U == 4) {
    reduce_add(sum, result);
  } else {
    for (int i = 0; i < U; ++i) result[i] = reduce_add<Acc>(sum[i]);
  }
}

template <class Acc>
void sddmm(const CsrView& a, std::int64_t row_begin, std::int64_t row_end, const Acc* u,
           std::int64_t u_stride, const Acc* v, std::int64_t v_stride, std::int64_t n,
           bool accumulate, Acc* d) {
  std::uint32_t buffer[kWindow];
  const auto put = [&](std::int64_t p, Acc value) { d[p] = accumulate ? d[p] + value : value; };
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    const Acc* u_row = u + row * u_stride;
    const std::int64_t end = a.offsets[row + 1];
    for (std::int64_t p = a.offsets[row]; p < end; p += kWindow) {
      const std::int64_t count = end - p < kWindow ? end - p : kWindow;
      const std::uint32_t* columns = decode_columns(a.columns, p, count, buffer);
      const auto v_row = [&](std::int64_t t) {
        return v + static_cast<std::int64_t>(columns[t]) * v_stride;
      };
      std::int64_t t = 0;
      for (; t + 4 <= count; t += 4) {
        const Acc* const rows[4] = {v_row(t), v_row(t + 1), v_row(t + 2), v_row(t + 3)};
        Acc result[4];
        dots(u_row, rows, n, result);
        for (int i = 0; i < 4; ++i) put(p + t + i, result[i]);
      }
      for (; t < count; ++t) {
        const Acc* const rows[1] = {v_row(t)};
        Acc result[1];
        dots(u_row, rows, n, result);
        put(p + t, result[0]);
      }
    }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
