#include "dense_convert.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dispatch.h"
#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
std::string text(Index value) { return std::to_string(value); }

// Calls body(row index, contiguous row) for rows [begin, end), copying strided rows. Column-major
// input is copied in blocks of rows, so that each cache line read is used whole.
template <class Bits, class Body>
void for_each_row(const MatrixView& m, Index begin, Index end, Body body) {
  const auto* data = static_cast<const Bits*>(m.data);
  if (m.col_stride == 1 || m.cols <= 1) {
    for (Index r = begin; r < end; ++r) body(r, data + r * m.row_stride);
    return;
  }
  const Index block = std::max<Index>(1, std::min<Index>(end - begin, 64 / Index{sizeof(Bits)}));
  std::vector<Bits> rows(at(block * m.cols));
  for (Index r0 = begin; r0 < end; r0 += block) {
    const Index count = std::min(block, end - r0);
    for (Index c = 0; c < m.cols; ++c) {
      for (Index r = 0; r < count; ++r) {
        rows[at(r * m.cols + c)] = data[(r0 + r) * m.row_stride + c * m.col_stride];
      }
    }
    for (Index r = 0; r < count; ++r) body(r0 + r, rows.data() + r * m.cols);
  }
}

template <class Body>
void parallel_rows(const MatrixView& m, int threads, double ns, Body body) {
  const int useful = useful_threads(threads, ns);
  parallel_for(even_bounds(m.rows, useful, ns), useful, body);
}

}  // namespace

namespace {

double work_ns(const MatrixView& m) {
  return 0.5 * static_cast<double>(m.rows) * static_cast<double>(m.cols);
}

std::shared_ptr<const CsrStructure> structure_of(const MatrixView& dense,
                                                 std::span<const Index> offsets,
                                                 IndexArray columns) {
  return std::make_shared<const CsrStructure>(dense.rows, dense.cols, compact_offsets(offsets),
                                              std::move(columns));
}

// Reads the matrix once, into room for as many entries as it has elements, of which only the pages
// that are written become memory.
Nonzeros in_one_pass(const MatrixView& dense) {
  const auto fill = active_kernels().dense_rows.fill_nonzeros;
  const Index item = item_size(dense.dtype);
  Index room = dense.rows * dense.cols, n = 0;
  Pages<std::byte> values(room * item);
  IndexArray columns(room, column_width(dense.cols));
  std::vector<Index> offsets(at(dense.rows) + 1);
  with_item_size(item, [&]<class Bits>(Bits) {
    parallel_rows(dense, 1, work_ns(dense), [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        n += fill(row, dense.dtype, dense.cols, room - n, values.data() + n * item,
                  columns.data() + n * columns.width(), columns.width());
        offsets[at(r) + 1] = n;
      });
    });
  });
  values.shrink(n * item);
  columns.shrink(n);
  return {structure_of(dense, offsets, std::move(columns)), std::move(values)};
}

std::vector<Index> count_nonzeros(const MatrixView& dense, int threads) {
  std::vector<Index> offsets(at(dense.rows) + 1);
  const auto count = active_kernels().dense_rows.count_nonzeros;
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    parallel_rows(dense, threads, work_ns(dense), [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        offsets[at(r) + 1] = count(row, dense.dtype, dense.cols);
      });
    });
  });
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

// Counts first, so that every thread knows where its rows begin.
Nonzeros in_two_passes(const MatrixView& dense, int threads) {
  const std::vector<Index> offsets = count_nonzeros(dense, threads);
  const Index item = item_size(dense.dtype);
  Pages<std::byte> values(offsets.back() * item);
  IndexArray columns(offsets.back(), column_width(dense.cols));
  const auto fill = active_kernels().dense_rows.fill_nonzeros;
  with_item_size(item, [&]<class Bits>(Bits) {
    parallel_rows(dense, threads, work_ns(dense), [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        const Index first = offsets[at(r)], room = offsets[at(r) + 1] - first;
        if (fill(row, dense.dtype, dense.cols, room, values.data() + first * item,
                 columns.data() + first * columns.width(), columns.width()) != room) {
          throw std::runtime_error("from_dense: the array was changed while it was read");
        }
      });
    });
  });
  return {structure_of(dense, offsets, std::move(columns)), std::move(values)};
}

}  // namespace

Nonzeros csr_from_dense(const MatrixView& dense, int threads) {
  // A small matrix is still in the caches when it is read again, and memory from the heap would not
  // be given back.
  constexpr Index kLarge = Index{32} << 20;
  constexpr Index kLargest = Index{1} << 40;  // of what the address space could hold
  const bool is_large = dense.rows > 0 && dense.cols <= kLargest / dense.rows &&
                        dense.rows * dense.cols * item_size(dense.dtype) >= kLarge;
  if (is_large && useful_threads(threads, work_ns(dense)) == 1) {
    try {
      return in_one_pass(dense);
    } catch (const std::bad_alloc&) {
      return in_two_passes(dense, threads);  // not so much room: what is needed may still fit
    }
  }
  return in_two_passes(dense, threads);
}

void scatter_dense(const CsrStructure& a, const void* values, Index item_size, void* out) {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* source = static_cast<const Bits*>(values);
    with_indices(a.columns(), [&](const auto* columns) {
      for (Index r = 0, p = 0; r < a.rows(); ++r) {
        Bits* row = static_cast<Bits*>(out) + r * a.cols();
        for (const Index end = a.offsets()[r + 1]; p < end; ++p) row[columns[p]] = source[p];
      }
    });
  });
}

void scatter_dense(const Sparse24Structure& a, const void* values, Index item_size, void* out) {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* source = static_cast<const Bits*>(values);
    const std::uint8_t* bytes = a.metadata().data();
    for (Index r = 0; r < a.rows(); ++r) {
      Bits* row = static_cast<Bits*>(out) + r * a.cols();
      for (Index t = 0; t < a.values_per_row(); ++t) {
        const Index column = sparse24_column(bytes + r * a.metadata_per_row(), t);
        if (column < a.cols()) row[column] = source[r * a.values_per_row() + t];
      }
    }
  });
}

void prune_24(const MatrixView& dense, std::uint8_t* mask, int threads) {
  const auto prune_row = active_kernels().compress24.prune_row;
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    parallel_rows(dense, threads, work_ns(dense), [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        prune_row(row, dense.dtype, dense.cols, mask + r * dense.cols);
      });
    });
  });
}

std::shared_ptr<const Sparse24Structure> compress_24(const MatrixView& dense, bool prune,
                                                     void* values, int threads) {
  const auto compress_row = active_kernels().compress24.compress_row;
  const Index values_per_row = (dense.cols + 3) / 4 * 2, bytes_per_row = (dense.cols + 7) / 8;
  Pages<std::uint8_t> metadata(dense.rows * bytes_per_row);
  std::atomic<Index> first_bad_row{std::numeric_limits<Index>::max()};
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    const auto compress = [&](Index r, const Bits* row) {
      return compress_row(row, dense.dtype, dense.cols, prune,
                          static_cast<Bits*>(values) + r * values_per_row,
                          metadata.data() + r * bytes_per_row);
    };
    parallel_rows(dense, threads, work_ns(dense), [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        if (compress(r, row) < 0) return;
        Index seen = first_bad_row.load();
        while (r < seen && !first_bad_row.compare_exchange_weak(seen, r)) {
        }
      });
    });
    const Index bad = first_bad_row.load();
    if (bad == std::numeric_limits<Index>::max()) return;
    for_each_row<Bits>(dense, bad, bad + 1, [&](Index r, const Bits* row) {
      const Index group = compress(r, row);
      throw std::invalid_argument("Sparse24: row " + text(r) + ", group " + text(group) +
                                  " (columns " + text(4 * group) + " to " +
                                  text(std::min(4 * group + 4, dense.cols) - 1) +
                                  ") has more than two nonzeros; prune=True keeps the two largest");
    });
  });
  return std::make_shared<const Sparse24Structure>(dense.rows, dense.cols, std::move(metadata));
}

}  // namespace sparsecore
