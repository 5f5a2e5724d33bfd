#include "construct.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
std::string text(Index value) { return std::to_string(value); }

template <class Source>
IndexArray narrowed(std::span<const Source> indices, Index limit, std::string_view name) {
  IndexArray result(std::ssize(indices), column_width(limit));
  const auto last = static_cast<std::uint64_t>(limit) - 1;
  with_indices(result, [&]<class I>(I* out) {
    // Another thread may be writing to the caller's array: what is checked is what is stored.
    constexpr std::size_t kWindow = 256;
    Source window[kWindow];
    for (std::size_t begin = 0; begin < indices.size(); begin += kWindow) {
      const std::size_t count = std::min(kWindow, indices.size() - begin);
      std::copy_n(indices.begin() + static_cast<std::ptrdiff_t>(begin), count, window);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // no reading again
      std::uint64_t signs = 0;  // set by a number that is negative, or past the last
      for (std::size_t i = 0; i < count; ++i) {
        const auto index = static_cast<std::uint64_t>(Index{window[i]});
        signs |= index | (last - index);
        out[begin + i] = static_cast<I>(index);
      }
      if (static_cast<Index>(signs) >= 0) continue;
      const Source* first =
          std::find_if(window, window + count, [&](Index i) { return i < 0 || i >= limit; });
      throw std::out_of_range(std::string(name) + " index " + text(*first) + " at position " +
                              text(static_cast<Index>(begin) + (first - window)) +
                              " is outside [0, " + text(limit) + ")");
    }
  });
  return result;
}

}  // namespace

CanonicalCsr csr_from_arrays(std::span<const Index> caller_indptr, std::span<const Index> indices,
                             Index rows, Index cols, Duplicates duplicates, const Values& values,
                             int threads) {
  validate_shape("CSR", rows, cols);
  // Another thread may be writing to the caller's arrays: offsets are copied before they are looked
  // at, and every column is read once, checked, and stored.
  const std::vector<Index> indptr(caller_indptr.begin(), caller_indptr.end());
  validate_offsets(indptr, std::ssize(indices), rows);
  IndexArray columns(std::ssize(indices), column_width(cols));
  bool ascending = true;
  with_indices(columns, [&]<class I>(I* out) {
    const volatile Index* once = indices.data();
    for (Index r = 0; r < rows; ++r) {
      Index before = -1;
      for (Index p = indptr[at(r)]; p < indptr[at(r) + 1]; ++p) {
        const Index column = checked_column(once[p], r, p, cols);
        ascending &= before < column;
        before = column;
        out[p] = static_cast<I>(column);
      }
    }
  });
  if (ascending) {
    return {std::make_shared<const CsrStructure>(rows, cols, compact_offsets(indptr),
                                                 std::move(columns)),
            {}};
  }
  std::vector<Index> row(indices.size());
  for (Index r = 0; r < rows; ++r) {
    std::fill(row.begin() + indptr[at(r)], row.begin() + indptr[at(r) + 1], r);
  }
  const IndexView rows_view{row.data(), 8, std::ssize(row)};
  return csr_from_triplets(rows_view, columns.view(), rows, cols, duplicates, values, threads);
}

IndexArray narrow(std::span<const Index> indices, Index limit, std::string_view name) {
  return narrowed(indices, limit, name);
}

IndexArray narrow(std::span<const std::int32_t> indices, Index limit, std::string_view name) {
  return narrowed(indices, limit, name);
}

}  // namespace sparsecore
