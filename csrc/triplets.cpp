#include "triplets.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "duplicates.h"
#include "entry_sort.h"
#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
std::string text(Index value) { return std::to_string(value); }

// What an entry takes, from reading to its place in the result.
constexpr double kNanosecondsPerEntry = 15;

// Bits that hold 0 ... size - 1.
int bits_for(Index size) {
  return size > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size) - 1)) : 0;
}

// ---- what is sorted ----

// The bits of values begin ... begin + count - 1, or their places where there are no values.
template <class Payload>
void read_payloads(const Values& values, Index begin, Index count, Payload* out) {
  if (values.data == nullptr) {
    for (Index i = 0; i < count; ++i) out[i] = static_cast<Payload>(begin + i);
    return;
  }
  with_item_size(item_size(values.dtype), [&]<class Bits>(Bits) {
    const Bits* from = static_cast<const Bits*>(values.data) + begin;
    for (Index i = 0; i < count; ++i) out[i] = static_cast<Payload>(from[i]);
  });
}

[[noreturn]] void refuse_coordinate(const char* what, const IndexView& indices, Index limit) {
  Index position = 0;
  while (indices[position] >= 0 && indices[position] < limit) ++position;
  throw std::out_of_range(std::string("COO: ") + what + " " + text(indices[position]) +
                          " at position " + text(position) + " is outside [0, " + text(limit) +
                          ")");
}

struct Triplets {
  IndexView row, col;
  Index rows, cols;  // the shape: coordinates are checked as they are read
  int column_bits;
  const Values& values;

  Index size() const { return row.size; }

  template <class Wide, class Payload>
  void read(Index begin, Index count, Wide* keys, Payload* payloads) const {
    with_indices(row, [&](const auto* r) {
      if (is_outside(r + begin, count, rows)) refuse_coordinate("row", row, rows);
      with_indices(col, [&](const auto* c) {
        if (is_outside(c + begin, count, cols)) refuse_coordinate("column", col, cols);
        join(r + begin, c + begin, count, column_bits, keys);
      });
    });
    if (payloads != nullptr) read_payloads(values, begin, count, payloads);
  }

 private:
  template <class R, class C, class Wide>
  static void join(const R* r, const C* c, Index count, int column_bits, Wide* keys) {
    for (Index i = 0; i < count; ++i) keys[i] = static_cast<Wide>(r[i]) << column_bits | c[i];
  }
  template <class I>
  static bool is_outside(const I* indices, Index count, Index limit) {
    I largest = 0;
    for (Index i = 0; i < count; ++i) largest = std::max(largest, indices[i]);
    return count > 0 && std::uint64_t{largest} >= static_cast<std::uint64_t>(limit);
  }
};

// The entries of `a` as triplets of its transpose.
struct TransposedEntries {
  const CsrStructure& a;
  int row_bits;
  const Values& values;

  Index size() const { return a.nnz(); }

  template <class Wide, class Payload>
  void read(Index begin, Index count, Wide* keys, Payload* payloads) const {
    with_indices(a.columns(), [&](const auto* columns) {
      for (Index i = 0; i < count; ++i) keys[i] = static_cast<Wide>(columns[begin + i]) << row_bits;
    });
    with_indices(a.offsets(), [&](const auto* offsets) {
      const auto* next = std::upper_bound(offsets, offsets + a.rows(), at(begin));
      Index i = 0;
      for (; i < count; ++next) {  // rows from that of `begin` on
        const auto row = static_cast<Wide>(next - offsets - 1);
        for (const Index end = std::min(static_cast<Index>(*next) - begin, count); i < end; ++i) {
          keys[i] |= row;
        }
      }
    });
    if (payloads != nullptr) read_payloads(values, begin, count, payloads);
  }
};

// Whether every entry lies after the one before it.
template <class Wide>
bool is_canonical(const Triplets& source) {
  Wide keys[kSortWindow];
  for (Index begin = 0; begin < source.size(); begin += kSortWindow - 1) {  // one in common
    const Index count = std::min(kSortWindow, source.size() - begin);
    source.read(begin, count, keys, static_cast<std::uint64_t*>(nullptr));
    bool ascending = true;
    for (Index i = 1; i < count; ++i) ascending &= keys[i - 1] < keys[i];
    if (!ascending) return false;
  }
  return true;
}

// ---- sorted buckets -> CSR ----

// Where a matrix's entries go.
struct Target {
  Index rows, cols;
  int column_bits;

  template <class Wide>
  Index row(Wide key) const {
    return static_cast<Index>(key >> column_bits);
  }
  template <class Wide>
  Index column(Wide key) const {
    return static_cast<Index>(key & ((Wide{1} << column_bits) - 1));
  }
  template <class Wide>
  std::string place(Wide key) const {
    return "row " + text(row(key)) + ", column " + text(column(key));
  }
};

// Writes the columns of `items` from `position` on, and where each row ends: every entry says so,
// the last one stays. (To ask whether it is the last costs more: a mispredicted branch a row.) But
// the last row may go on in another bucket; its end is for the caller to write.
template <class Sorted, class Item>
void write_structure(const Sorted& buckets, Index bucket, std::span<const Item> items,
                     Index position, const Target& target, Index* row_ends, IndexArray& columns) {
  if (items.empty()) return;
  const Index last_row = target.row(buckets.key(bucket, items.back()));
  with_indices(columns, [&]<class I>(I* out) {
    for (const Item& item : items) {
      const auto key = buckets.key(bucket, item);
      const Index row = target.row(key);
      out[position++] = static_cast<I>(target.column(key));
      if (row < last_row) row_ends[row] = position;
    }
  });
}

// Rows without entries end where the row before them does.
void end_empty_rows(std::vector<Index>& offsets) {
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin(),
                   [](Index a, Index b) { return std::max(a, b); });
}

template <class Wide, class Low, class Payload, class Source>
CanonicalCsr sorted_csr(const Source& source, const Target& target, KeyBits bits,
                        Duplicates duplicates, const Values& values, int threads) {
  using Item = Entry<Low, Payload>;
  const Buckets<Wide, Low, Payload> buckets(source, bits, threads);
  const std::vector<Index>& starts = buckets.starts();
  CanonicalCsr result;
  if (values.data == nullptr) result.order.emplace(at(source.size()));

  std::vector<Index> position(starts.size(), 0);  // distinct entries before each bucket
  const auto finish = [&](Index b, std::vector<Item>& buffer) {
    buckets.sort(b, buffer);
    const std::span<Item> items = buckets[b];
    if (items.empty()) return;
    if (values.data == nullptr) {  // the order; a payload becomes its entry's place in that
      for (std::size_t i = 0; i < items.size(); ++i) {
        (*result.order)[at(starts[at(b)]) + i] = static_cast<Index>(items[i].payload);
        items[i].payload = static_cast<Payload>(at(starts[at(b)]) + i);
      }
    }
    position[at(b) + 1] = merge_duplicates(items, [&](std::span<const Item> run) {
      const auto place = [&] { return target.place(buckets.key(b, run.front())); };
      if (duplicates == Duplicates::kError) {
        throw std::invalid_argument("duplicate entry at " + place() +
                                    "; duplicates=\"sum\" adds them up");
      }
      if (values.data == nullptr) return run.front().payload;
      return static_cast<Payload>(sum_run(run, values.dtype, place));
    });
  };
  const Bounds bounds = balanced_bounds({starts.data(), 8, std::ssize(starts)}, threads,
                                        kNanosecondsPerEntry * static_cast<double>(source.size()));
  const auto for_each_bucket = [&](auto body) {
    parallel_for(bounds, threads, [&](Index begin, Index end) {
      std::vector<Item> buffer;
      for (Index b = begin; b < end; ++b) body(b, buffer);
    });
  };
  for_each_bucket(finish);
  std::partial_sum(position.begin(), position.end(), position.begin());

  const Index nnz = position.back();
  if (values.data == nullptr && nnz < source.size()) result.starts.emplace(at(nnz));
  void* const values_out = values.data != nullptr ? values.room(nnz) : nullptr;
  std::vector<Index> offsets(at(target.rows) + 1);
  IndexArray columns(nnz, column_width(target.cols));
  for_each_bucket([&](Index b, auto&) {
    const Index first = position[at(b)];
    const std::span<const Item> items = buckets[b].first(at(position[at(b) + 1] - first));
    write_structure(buckets, b, items, first, target, offsets.data() + 1, columns);
    const auto write_payloads = [&](auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      std::transform(items.begin(), items.end(), out + first,
                     [](const Item& item) { return static_cast<T>(item.payload); });
    };
    if (values_out != nullptr) {
      with_item_size(item_size(values.dtype),
                     [&]<class Bits>(Bits) { write_payloads(static_cast<Bits*>(values_out)); });
    } else if (result.starts) {
      write_payloads(result.starts->data());
    }
  });
  for (Index b = 0; b < buckets.count(); ++b) {
    if (buckets[b].empty()) continue;
    const Index last = position[at(b) + 1] - position[at(b)] - 1;
    const Index last_row = target.row(buckets.key(b, buckets[b][at(last)]));
    // A later bucket that goes on to other rows has written this one's end already.
    Index& end = offsets[at(last_row) + 1];
    end = std::max(end, position[at(b) + 1]);
  }
  end_empty_rows(offsets);
  result.structure = std::make_shared<const CsrStructure>(
      target.rows, target.cols, compact_offsets(offsets), std::move(columns));
  return result;
}

// Triplets that need neither sorting nor summing: the columns are copied, the rows counted.
CanonicalCsr canonical_csr(const Triplets& source) {
  std::vector<Index> offsets(at(source.rows) + 1);
  with_indices(source.row, [&](const auto* row) {
    for (Index i = 0; i < source.size(); ++i) offsets[at(static_cast<Index>(row[i])) + 1] = i + 1;
  });
  end_empty_rows(offsets);
  IndexArray columns(source.size(), column_width(source.cols));
  with_indices(columns, [&]<class I>(I* out) {
    with_indices(source.col, [&](const auto* col) {
      std::transform(col, col + source.size(), out, [](auto c) { return static_cast<I>(c); });
    });
  });
  if (source.values.data != nullptr) {
    const Index bytes = source.size() * item_size(source.values.dtype);
    void* const out = source.values.room(source.size());
    if (bytes > 0) std::memcpy(out, source.values.data, at(bytes));
  }
  return {std::make_shared<const CsrStructure>(source.rows, source.cols, compact_offsets(offsets),
                                               std::move(columns)),
          {},
          {}};
}

// Calls body(Wide, Low, Payload), the narrowest that hold a matrix's keys and its values or places.
template <class Body>
CanonicalCsr with_entries(KeyBits bits, Index size, const Values& values, Body body) {
  const bool small_payload =
      values.data != nullptr ? item_size(values.dtype) <= 4 : size <= Index{1} << 32;
  if (small_payload && bits.total <= 32 + kMaxBucketBits) {
    return body(std::uint64_t{}, std::uint32_t{}, std::uint32_t{});
  }
  if (bits.total <= 64) return body(std::uint64_t{}, std::uint64_t{}, std::uint64_t{});
  return body(UInt128{}, UInt128{}, std::uint64_t{});
}

// ---- the transpose ----

// A counting sort straight into the result: it writes to as many places at once as there are
// columns.
CanonicalCsr counted_transpose(const CsrStructure& a, const Values& values) {
  const bool keeps_order = values.data == nullptr;
  std::vector<Index> order(keeps_order ? at(a.nnz()) : 0);
  void* const out_values = keeps_order ? nullptr : values.room(a.nnz());
  std::vector<Index> offsets(at(a.cols()) + 1);
  IndexArray rows(a.nnz(), column_width(a.rows()));
  with_indices(a.columns(), [&](const auto* columns) {
    for (Index p = 0; p < a.nnz(); ++p) ++offsets[at(static_cast<Index>(columns[p])) + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    std::vector<Index> next(offsets.begin(), offsets.end() - 1);
    with_indices(rows, [&]<class I>(I* out_rows) {
      const auto scatter = [&](auto value_of, auto* out) {
        for (Index r = 0, p = 0; r < a.rows(); ++r) {
          for (const Index end = a.offsets()[r + 1]; p < end; ++p) {
            const Index to = next[columns[p]]++;
            out_rows[to] = static_cast<I>(r);
            out[to] = value_of(p);
          }
        }
      };
      if (keeps_order) return scatter(std::identity{}, order.data());
      with_item_size(item_size(values.dtype), [&]<class Bits>(Bits) {
        const auto* from = static_cast<const Bits*>(values.data);
        scatter([from](Index p) { return from[p]; }, static_cast<Bits*>(out_values));
      });
    });
  });
  CanonicalCsr result;
  result.structure = std::make_shared<const CsrStructure>(
      a.cols(), a.rows(), compact_offsets(offsets), std::move(rows));
  if (keeps_order) result.order = std::move(order);
  return result;
}

}  // namespace

CanonicalCsr csr_from_triplets(const IndexView& row, const IndexView& col, Index rows, Index cols,
                               Duplicates duplicates, const Values& values, int threads) {
  validate_shape("COO", rows, cols);
  if (row.size != col.size) {
    throw std::invalid_argument("COO: row has " + text(row.size) + " entries, col has " +
                                text(col.size) + ", expected the same number");
  }
  const int column_bits = bits_for(cols);
  const KeyBits bits{bits_for(rows) + column_bits, 0};
  const Triplets source{row, col, rows, cols, column_bits, values};
  threads = useful_threads(threads, kNanosecondsPerEntry * static_cast<double>(source.size()));
  return with_entries(bits, source.size(), values,
                      [&]<class Wide, class Low, class Payload>(Wide, Low, Payload) {
                        if (is_canonical<Wide>(source)) return canonical_csr(source);
                        return sorted_csr<Wide, Low, Payload>(source, {rows, cols, column_bits},
                                                              bits, duplicates, values, threads);
                      });
}

CanonicalCsr transpose(const CsrStructure& a, const Values& values, int threads) {
  constexpr Index kMostCounted = Index{1} << 17;  // places whose ends a second-level cache holds
  if (a.cols() <= kMostCounted) return counted_transpose(a, values);
  const int row_bits = bits_for(a.rows());
  const KeyBits bits{row_bits + bits_for(a.cols()), row_bits};
  const TransposedEntries source{a, row_bits, values};
  threads = useful_threads(threads, kNanosecondsPerEntry * static_cast<double>(source.size()));
  return with_entries(
      bits, source.size(), values, [&]<class Wide, class Low, class Payload>(Wide, Low, Payload) {
        return sorted_csr<Wide, Low, Payload>(source, {a.cols(), a.rows(), row_bits}, bits,
                                              Duplicates::kSum, values, threads);
      });
}

}  // namespace sparsecore
