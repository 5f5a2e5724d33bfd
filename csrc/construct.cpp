#include "construct.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
std::string text(Index value) { return std::to_string(value); }

// What is left of an entry once it lies in its row: its column, and its place in the input.
template <class I>
struct Placed {
  I column;
  I place;
  friend auto operator<=>(const Placed&, const Placed&) = default;
};

// Uninitialised memory for entries written in random order: large ones ask for huge pages, without
// which almost every such write would also miss the address cache.
template <class T>
class Pages {
 public:
  explicit Pages(Index size) {
    constexpr std::size_t kHuge = std::size_t{2} << 20;
    std::size_t bytes = at(size) * sizeof(T);
    const bool large = bytes >= 2 * kHuge;
    const std::size_t alignment = large ? kHuge : 64;
    bytes = (bytes + alignment) / alignment * alignment;
    data_.reset(static_cast<T*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (large) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // a hint: may fail, changes no result
#endif
  }
  T* data() const { return data_.get(); }
  T& operator[](std::size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
};

// Entries by row: row r has entries[offsets[r]] ... entries[offsets[r + 1] - 1].
template <class I>
struct ByRow {
  std::vector<Index> offsets;
  Pages<Placed<I>> entries;

  Index nnz() const { return offsets.back(); }
  std::span<Placed<I>> row(Index r) const {
    return {entries.data() + offsets[at(r)], at(offsets[at(r) + 1] - offsets[at(r)])};
  }
};

// visit(f) calls f(row, column) for every entry in input order, and is called twice.
//
// A counting sort: the writes go to as many streams as there are rows, 8 bytes each where 32-bit
// indices suffice, so that the ends of 16,000 streams fit a second-level cache.
template <class I, class Visit>
ByRow<I> by_row(Index nnz, Index rows, Visit visit) {
  ByRow<I> result{std::vector<Index>(at(rows) + 1), Pages<Placed<I>>(nnz)};
  visit([&](Index row, Index) { ++result.offsets[at(row) + 1]; });
  std::partial_sum(result.offsets.begin(), result.offsets.end(), result.offsets.begin());
  std::vector<Index> next(result.offsets.begin(), result.offsets.end() - 1);
  I place = 0;
  visit([&](Index row, Index column) {
    result.entries[at(next[at(row)]++)] = {static_cast<I>(column), place++};
  });
  return result;
}

// Sorts one row by column, keeping the input order of equal columns: by comparison where the row is
// short, else digit by digit in the first-level cache.
template <class I>
void sort_row(std::span<Placed<I>> row, std::vector<Placed<I>>& buffer, int column_bits) {
  constexpr std::size_t kShort = 32;
  constexpr int kDigit = 8;
  if (std::is_sorted(row.begin(), row.end())) return;
  if (row.size() < kShort || column_bits > 3 * kDigit) return std::sort(row.begin(), row.end());
  buffer.resize(std::max(buffer.size(), row.size()));
  std::span<Placed<I>> from = row, to(buffer.data(), row.size());
  for (int shift = 0; shift < column_bits; shift += kDigit) {
    const auto digit = [shift](const Placed<I>& e) { return (e.column >> shift) & 0xffu; };
    std::size_t place[257] = {};
    for (const Placed<I>& e : from) ++place[digit(e) + 1];
    std::partial_sum(std::begin(place), std::end(place), std::begin(place));
    for (const Placed<I>& e : from) to[place[digit(e)]++] = e;
    std::swap(from, to);
  }
  if (from.data() != row.data()) std::copy(from.begin(), from.end(), row.begin());
}

int bits_for(Index cols) {
  return cols > 1 ? 64 - std::countl_zero(static_cast<std::uint64_t>(cols) - 1) : 0;
}

// Whether columns and places fit 32 bits.
bool is_small(Index nnz, Index cols) {
  constexpr Index kLimit = Index{1} << 32;
  return nnz < kLimit && cols <= kLimit;
}

void validate_coordinates(const char* what, const IndexView& indices, Index limit) {
  for (Index i = 0; i < indices.size; ++i) {
    if (indices[i] < 0 || indices[i] >= limit) {
      throw std::out_of_range(std::string("COO: ") + what + " " + text(indices[i]) +
                              " at position " + text(i) + " is outside [0, " + text(limit) + ")");
    }
  }
}

void validate_triplets(const IndexView& row, const IndexView& col, Index rows, Index cols) {
  validate_shape("COO", rows, cols);
  if (row.size != col.size) {
    throw std::invalid_argument("COO: row has " + text(row.size) + " entries, col has " +
                                text(col.size) + ", expected the same number");
  }
  validate_coordinates("row", row, rows);
  validate_coordinates("column", col, cols);
}

bool is_sorted(const IndexView& row, const IndexView& col) {
  for (Index i = 1; i < row.size; ++i) {
    if (std::pair(row[i], col[i]) < std::pair(row[i - 1], col[i - 1])) return false;
  }
  return true;
}

template <class I>
std::vector<Index> places(const ByRow<I>& by_row) {
  std::vector<Index> order(at(by_row.nnz()));
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<Index>(by_row.entries[i].place);
  }
  return order;
}

// Where the values go: moved here (items of one size), or left to the caller as an order.
template <class I>
std::optional<std::vector<Index>> move_values(const ByRow<I>& by_row, const MovedValues& values) {
  if (values.from == nullptr) return places(by_row);
  with_item_size(values.item_size, [&]<class Bits>(Bits) {
    const auto* from = static_cast<const Bits*>(values.from);
    auto* to = static_cast<Bits*>(values.to);
    const Index nnz = by_row.nnz();
    for (Index i = 0; i < nnz; ++i) to[i] = from[by_row.entries[at(i)].place];
  });
  return std::nullopt;
}

// Offsets of the distinct columns of each row.
template <class I>
std::vector<Index> distinct_offsets(const ByRow<I>& by_row, Index rows, Duplicates duplicates) {
  std::vector<Index> offsets{0};
  offsets.reserve(at(rows) + 1);
  for (Index r = 0; r < rows; ++r) {
    const std::span<const Placed<I>> row = by_row.row(r);
    Index distinct = row.empty() ? 0 : 1;
    for (std::size_t t = 1; t < row.size(); ++t) {
      const bool repeated = row[t].column == row[t - 1].column;
      if (repeated && duplicates == Duplicates::kError) {
        throw std::invalid_argument("duplicate entry at row " + text(r) + ", column " +
                                    text(static_cast<Index>(row[t].column)) +
                                    "; duplicates=\"sum\" adds them up");
      }
      distinct += !repeated;
    }
    offsets.push_back(offsets.back() + distinct);
  }
  return offsets;
}

// Calls body(i) for the first of every run of equal columns, i counting sorted entries.
template <class I, class Body>
void for_each_distinct(const ByRow<I>& by_row, Index rows, Body body) {
  for (Index r = 0; r < rows; ++r) {
    const Index begin = by_row.offsets[at(r)], end = by_row.offsets[at(r) + 1];
    for (Index i = begin; i < end; ++i) {
      if (i == begin || by_row.entries[at(i)].column != by_row.entries[at(i) - 1].column) body(i);
    }
  }
}

template <class I>
std::shared_ptr<const CsrStructure> distinct_structure(const ByRow<I>& by_row, Index rows,
                                                       Index cols, std::span<const Index> offsets) {
  IndexArray columns(offsets.back(), column_width(cols));
  with_indices(columns, [&]<class Out>(Out* out) {
    for_each_distinct(by_row, rows,
                      [&](Index i) { *out++ = static_cast<Out>(by_row.entries[at(i)].column); });
  });
  return std::make_shared<const CsrStructure>(rows, cols, compact_offsets(offsets),
                                              std::move(columns));
}

template <class I>
SortedCsr sorted_csr(const IndexView& row, const IndexView& col, Index rows, Index cols,
                     Duplicates duplicates, const MovedValues& values) {
  const bool was_sorted = is_sorted(row, col);
  const ByRow<I> entries = by_row<I>(row.size, rows, [&](auto entry) {
    for (Index i = 0; i < row.size; ++i) entry(row[i], col[i]);
  });
  std::vector<Placed<I>> buffer;
  if (!was_sorted) {
    for (Index r = 0; r < rows; ++r) sort_row(entries.row(r), buffer, bits_for(cols));
  }
  const std::vector<Index> offsets = distinct_offsets(entries, rows, duplicates);
  SortedCsr result;
  result.structure = distinct_structure(entries, rows, cols, offsets);
  if (!was_sorted || values.from != nullptr) result.order = move_values(entries, values);
  if (offsets.back() < row.size) {
    result.starts.emplace().reserve(at(offsets.back()));
    for_each_distinct(entries, rows, [&](Index i) { result.starts->push_back(i); });
  }
  return result;
}

template <class I>
TransposedCsr transposed(const CsrStructure& a, const MovedValues& values) {
  const ByRow<I> entries = with_indices(a.columns(), [&](const auto* columns) {
    return by_row<I>(a.nnz(), a.cols(), [&](auto entry) {
      for (Index r = 0, p = 0; r < a.rows(); ++r) {
        for (const Index end = a.offsets()[r + 1]; p < end; ++p) {
          entry(static_cast<Index>(columns[p]), r);
        }
      }
    });
  });
  return {distinct_structure(entries, a.cols(), a.rows(), entries.offsets),
          move_values(entries, values)};
}

}  // namespace

SortedCsr csr_from_triplets(const IndexView& row, const IndexView& col, Index rows, Index cols,
                            Duplicates duplicates, const MovedValues& values) {
  validate_triplets(row, col, rows, cols);
  return is_small(row.size, cols)
             ? sorted_csr<std::uint32_t>(row, col, rows, cols, duplicates, values)
             : sorted_csr<std::uint64_t>(row, col, rows, cols, duplicates, values);
}

SortedCsr csr_from_arrays(std::span<const Index> caller_indptr, std::span<const Index> indices,
                          Index rows, Index cols, Duplicates duplicates) {
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
            {},
            {}};
  }
  std::vector<Index> row(indices.size());
  for (Index r = 0; r < rows; ++r) {
    std::fill(row.begin() + indptr[at(r)], row.begin() + indptr[at(r) + 1], r);
  }
  const IndexView rows_view{row.data(), 8, std::ssize(row)};
  return csr_from_triplets(rows_view, columns.view(), rows, cols, duplicates, {});
}

std::shared_ptr<const CsrStructure> gather_rows(const CsrStructure& a, std::span<const Index> ids) {
  std::vector<Index> offsets{0};
  offsets.reserve(ids.size() + 1);
  for (const Index id : ids) {
    if (id < 0 || id >= a.rows()) {
      throw std::out_of_range("gather_rows: row " + text(id) + " is outside [0, " + text(a.rows()) +
                              ")");
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

TransposedCsr transpose(const CsrStructure& a, const MovedValues& values) {
  return is_small(a.nnz(), a.rows()) ? transposed<std::uint32_t>(a, values)
                                     : transposed<std::uint64_t>(a, values);
}

}  // namespace sparsecore
