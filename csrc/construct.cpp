#include "construct.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "dispatch.h"
#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
std::string text(Index value) { return std::to_string(value); }

int column_width(Index cols) {
  return IndexArray::width_for(cols > 0 ? static_cast<std::uint64_t>(cols) - 1 : 0);
}

IndexArray compact(std::span<const Index> source, int width) {
  IndexArray array(std::ssize(source), width);
  with_indices(array, [&]<class I>(I* out) {
    std::transform(source.begin(), source.end(), out, [](Index v) { return static_cast<I>(v); });
  });
  return array;
}

IndexArray compact_offsets(std::span<const Index> offsets) {
  return compact(offsets, IndexArray::width_for(static_cast<std::uint64_t>(offsets.back())));
}

std::shared_ptr<const CsrStructure> make_csr(Index rows, Index cols,
                                             std::span<const Index> offsets,
                                             std::span<const Index> columns) {
  return std::make_shared<const CsrStructure>(rows, cols, compact_offsets(offsets),
                                              compact(columns, column_width(cols)));
}

// One coordinate pair as a sortable key with its place in the input.
struct Keyed {
  std::uint64_t key;
  std::uint64_t place;
};

int bits_of(Index n) { return n > 1 ? 64 - std::countl_zero(static_cast<std::uint64_t>(n) - 1) : 0; }

// Least-significant-digit radix sort over the `bits` that keys use: stable, so equal coordinates
// keep the caller's order, which fixes the order in which duplicates are summed.
void radix_sort(std::vector<Keyed>& entries, int bits) {
  constexpr int kDigit = 11;  // 2048 counters: fit the first-level cache with room for the data
  std::vector<Keyed> other(entries.size());
  for (int shift = 0; shift < bits; shift += kDigit) {
    const auto digit = [shift](const Keyed& e) { return (e.key >> shift) & ((1u << kDigit) - 1); };
    std::vector<std::size_t> place((1u << kDigit) + 1);
    for (const Keyed& e : entries) ++place[digit(e) + 1];
    std::partial_sum(place.begin(), place.end(), place.begin());
    for (const Keyed& e : entries) other[place[digit(e)]++] = e;
    entries.swap(other);
  }
}

std::vector<Index> sorted_order(std::span<const Index> row, std::span<const Index> col, Index rows,
                                Index cols) {
  std::vector<Index> order(row.size());
  const int col_bits = bits_of(cols), bits = bits_of(rows) + col_bits;
  if (bits <= 64) {
    std::vector<Keyed> entries(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::uint64_t high = col_bits < 64 ? static_cast<std::uint64_t>(row[i]) << col_bits : 0;
      entries[i] = {high | static_cast<std::uint64_t>(col[i]), i};
    }
    radix_sort(entries, bits);
    std::transform(entries.begin(), entries.end(), order.begin(),
                   [](const Keyed& e) { return static_cast<Index>(e.place); });
  } else {  // a matrix of more than 2^64 places: its coordinates do not fit one key
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return std::pair(row[at(a)], col[at(a)]) < std::pair(row[at(b)], col[at(b)]);
    });
  }
  return order;
}

void validate_triplets(std::span<const Index> row, std::span<const Index> col, Index rows,
                       Index cols) {
  validate_shape("COO", rows, cols);
  if (row.size() != col.size()) {
    throw std::invalid_argument("COO: row has " + text(std::ssize(row)) + " entries, col has " +
                                text(std::ssize(col)) + ", expected the same number");
  }
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] < 0 || row[i] >= rows) {
      throw std::out_of_range("COO: row " + text(row[i]) + " at position " +
                              text(static_cast<Index>(i)) + " is outside [0, " + text(rows) + ")");
    }
    if (col[i] < 0 || col[i] >= cols) {
      throw std::out_of_range("COO: column " + text(col[i]) + " at position " +
                              text(static_cast<Index>(i)) + " is outside [0, " + text(cols) + ")");
    }
  }
}

enum class Sorting { kUnsorted, kSortedWithDuplicates, kStrict };

Sorting sorting_of(std::span<const Index> row, std::span<const Index> col) {
  Sorting sorting = Sorting::kStrict;
  for (std::size_t i = 1; i < row.size(); ++i) {
    const auto before = std::pair(row[i - 1], col[i - 1]), now = std::pair(row[i], col[i]);
    if (now < before) return Sorting::kUnsorted;
    if (now == before) sorting = Sorting::kSortedWithDuplicates;
  }
  return sorting;
}

// A nonzero test and a copy for items of one size; floating types drop the sign bit first.
template <class Bits>
bool is_nonzero(Bits bits, Bits mask) {
  return (bits & mask) != 0;
}

template <class Body>
decltype(auto) with_item_size(Index item_size, Body&& body) {
  switch (item_size) {
    case 1:
      return body(std::uint8_t{});
    case 2:
      return body(std::uint16_t{});
    case 4:
      return body(std::uint32_t{});
    default:
      return body(std::uint64_t{});
  }
}

template <class Bits>
Bits nonzero_mask(DType dtype) {
  const Bits all = std::numeric_limits<Bits>::max();
  return is_floating(dtype) ? static_cast<Bits>(all >> 1) : all;
}

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

double elements(const MatrixView& m) {
  return static_cast<double>(m.rows) * static_cast<double>(m.cols);
}

template <class Body>
void parallel_rows(const MatrixView& m, int threads, Body body) {
  const int useful = useful_threads(threads, elements(m));
  parallel_for(even_bounds(m.rows, useful, elements(m)), useful, body);
}

}  // namespace

SortedCsr csr_from_triplets(std::span<const Index> row, std::span<const Index> col, Index rows,
                            Index cols, Duplicates duplicates) {
  validate_triplets(row, col, rows, cols);
  const Sorting sorting = sorting_of(row, col);
  SortedCsr result;
  if (sorting == Sorting::kUnsorted) result.order = sorted_order(row, col, rows, cols);
  const auto place = [&](std::size_t i) { return result.order ? at((*result.order)[i]) : i; };

  std::vector<Index> offsets(at(rows) + 1), columns, starts;
  columns.reserve(row.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::size_t p = place(i);
    if (i > 0 && row[p] == row[place(i - 1)] && col[p] == col[place(i - 1)]) {
      if (duplicates == Duplicates::kError) {
        throw std::invalid_argument("duplicate entry at row " + text(row[p]) + ", column " +
                                    text(col[p]) + "; duplicates=\"sum\" adds them up");
      }
      continue;
    }
    ++offsets[at(row[p]) + 1];
    columns.push_back(col[p]);
    starts.push_back(static_cast<Index>(i));
  }
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  if (starts.size() < row.size()) result.starts = std::move(starts);
  result.structure = make_csr(rows, cols, offsets, columns);
  return result;
}

SortedCsr csr_from_arrays(std::span<const Index> indptr, std::span<const Index> indices,
                          Index rows, Index cols, Duplicates duplicates) {
  validate_csr(indptr, indices, rows, cols);
  bool strict = true;
  for (Index r = 0; r < rows && strict; ++r) {
    for (Index p = indptr[at(r)] + 1; p < indptr[at(r) + 1]; ++p) {
      strict &= indices[at(p - 1)] < indices[at(p)];
    }
  }
  if (strict) return {make_csr(rows, cols, indptr, indices), {}, {}};
  std::vector<Index> row(indices.size());
  for (Index r = 0; r < rows; ++r) {
    std::fill(row.begin() + indptr[at(r)], row.begin() + indptr[at(r) + 1], r);
  }
  return csr_from_triplets(row, indices, rows, cols, duplicates);
}

std::vector<Index> count_nonzeros(const MatrixView& dense, int threads) {
  std::vector<Index> offsets(at(dense.rows) + 1);
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    const Bits mask = nonzero_mask<Bits>(dense.dtype);
    parallel_rows(dense, threads, [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        Index count = 0;
        for (Index c = 0; c < dense.cols; ++c) count += is_nonzero(row[c], mask);
        offsets[at(r) + 1] = count;
      });
    });
  });
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

std::shared_ptr<const CsrStructure> fill_nonzeros(const MatrixView& dense,
                                                  std::span<const Index> offsets, void* values,
                                                  int threads) {
  IndexArray columns(offsets.back(), column_width(dense.cols));
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    const Bits mask = nonzero_mask<Bits>(dense.dtype);
    with_indices(columns, [&]<class I>(I* out_columns) {
      parallel_rows(dense, threads, [&](Index begin, Index end) {
        // Entries are written without a branch, one past the last kept: into a row of our own.
        std::vector<Bits> row_values(at(dense.cols) + 1);
        std::vector<I> row_columns(at(dense.cols) + 1);
        for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
          Index n = 0;
          for (Index c = 0; c < dense.cols; ++c) {
            row_values[at(n)] = row[c];
            row_columns[at(n)] = static_cast<I>(c);
            n += is_nonzero(row[c], mask);
          }
          const Index first = offsets[at(r)];
          if (n != offsets[at(r) + 1] - first) {
            throw std::runtime_error("from_dense: the array was changed while it was read");
          }
          std::copy_n(row_values.data(), n, static_cast<Bits*>(values) + first);
          std::copy_n(row_columns.data(), n, out_columns + first);
        });
      });
    });
  });
  return std::make_shared<const CsrStructure>(dense.rows, dense.cols, compact_offsets(offsets),
                                              std::move(columns));
}

std::shared_ptr<const CsrStructure> gather_rows(const CsrStructure& a,
                                                std::span<const Index> ids) {
  std::vector<Index> offsets{0};
  offsets.reserve(ids.size() + 1);
  for (const Index id : ids) {
    if (id < 0 || id >= a.rows()) {
      throw std::out_of_range("gather_rows: row " + text(id) + " is outside [0, " +
                              text(a.rows()) + ")");
    }
    offsets.push_back(offsets.back() + a.offsets()[id + 1] - a.offsets()[id]);
  }
  IndexArray columns(offsets.back(), a.columns().width());
  gather_row_values(a, ids, a.columns().data(), a.columns().width(), columns.data());
  return std::make_shared<const CsrStructure>(std::ssize(ids), a.cols(), compact_offsets(offsets),
                                              std::move(columns));
}

void gather_row_values(const CsrStructure& a, std::span<const Index> ids, const void* values,
                       Index item_size, void* out) {
  const auto* source = static_cast<const std::byte*>(values);
  auto* target = static_cast<std::byte*>(out);
  for (const Index id : ids) {
    const Index first = a.offsets()[id];
    const Index bytes = (a.offsets()[id + 1] - first) * item_size;
    if (bytes > 0) std::memcpy(target, source + first * item_size, at(bytes));
    target += bytes;
  }
}

TransposedCsr transpose(const CsrStructure& a) {
  std::vector<Index> offsets(at(a.cols()) + 1);
  for (Index p = 0; p < a.nnz(); ++p) ++offsets[at(a.columns()[p]) + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  std::vector<Index> place(offsets.begin(), offsets.end() - 1), order(at(a.nnz()));
  std::vector<Index> columns(at(a.nnz()));
  for (Index r = 0; r < a.rows(); ++r) {
    for (Index p = a.offsets()[r]; p < a.offsets()[r + 1]; ++p) {
      const std::size_t q = at(place[at(a.columns()[p])]++);
      columns[q] = r;
      order[q] = p;
    }
  }
  return {make_csr(a.cols(), a.rows(), offsets, columns), std::move(order)};
}

void scatter_dense(const CsrStructure& a, const void* values, Index item_size, void* out) {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* source = static_cast<const Bits*>(values);
    for (Index r = 0; r < a.rows(); ++r) {
      Bits* row = static_cast<Bits*>(out) + r * a.cols();
      for (Index p = a.offsets()[r]; p < a.offsets()[r + 1]; ++p) row[a.columns()[p]] = source[p];
    }
  });
}

void scatter_dense(const Sparse24Structure& a, const void* values, Index item_size, void* out) {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* source = static_cast<const Bits*>(values);
    const std::uint8_t* bytes = a.metadata().data();
    for (Index r = 0; r < a.rows(); ++r) {
      Bits* row = static_cast<Bits*>(out) + r * a.cols();
      for (Index t = 0; t < a.values_per_row(); ++t) {
        const Index group = t / 2;
        const int byte = bytes[r * a.metadata_per_row() + group / 2];
        const Index column = 4 * group + ((byte >> (4 * (group % 2) + 2 * (t % 2))) & 3);
        if (column < a.cols()) row[column] = source[r * a.values_per_row() + t];
      }
    }
  });
}

void prune_24(const MatrixView& dense, std::uint8_t* mask, int threads) {
  const auto prune_row = active_kernels().compress24.prune_row;
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    parallel_rows(dense, threads, [&](Index begin, Index end) {
      for_each_row<Bits>(dense, begin, end, [&](Index r, const Bits* row) {
        prune_row(row, dense.dtype, dense.cols, mask + r * dense.cols);
      });
    });
  });
}

void compress_24(const MatrixView& dense, void* values, std::uint8_t* metadata, int threads) {
  const auto compress_row = active_kernels().compress24.compress_row;
  const Index values_per_row = (dense.cols + 3) / 4 * 2, bytes_per_row = (dense.cols + 7) / 8;
  std::atomic<Index> first_bad_row{std::numeric_limits<Index>::max()};
  with_item_size(item_size(dense.dtype), [&]<class Bits>(Bits) {
    const auto compress = [&](Index r, const Bits* row) {
      return compress_row(row, dense.dtype, dense.cols,
                          static_cast<Bits*>(values) + r * values_per_row,
                          metadata + r * bytes_per_row);
    };
    parallel_rows(dense, threads, [&](Index begin, Index end) {
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
}

}  // namespace sparsecore
