#include "transpose.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "parallel.h"
#include "sorted_entries.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// The entries of `a` as triplets of its transpose.
struct TransposedEntries {
  const CsrView& a;
  int row_bits;
  const Values& values;

  Index size() const { return a.nnz(); }

  void read_tops(Index begin, Index count, int shift, std::uint32_t* tops) const {
    with_rows(begin, count, [&](const auto* columns, const Index* rows) {
      join_tops(columns, rows, count, row_bits, shift, tops);
    });
  }
  template <class Key>
  void read_keys(Index begin, Index count, Key* keys) const {
    with_rows(begin, count, [&](const auto* columns, const Index* rows) {
      join_keys(columns, rows, count, row_bits, keys);
    });
  }
  template <class Payload>
  const Payload* payloads(Index begin, Index count, Payload* window) const {
    return payloads_of(values, begin, count, window);
  }

 private:
  template <class Body>
  void with_rows(Index begin, Index count, Body body) const {
    Index rows[kSortWindow];
    with_indices(a.offsets, [&](const auto* offsets) {
      const auto* next = std::upper_bound(offsets, offsets + a.rows, at(begin));
      Index i = 0;
      for (; i < count; ++next) {  // rows from that of `begin` on
        const Index row = next - offsets - 1;
        for (const Index end = std::min(static_cast<Index>(*next) - begin, count); i < end; ++i) {
          rows[i] = row;
        }
      }
    });
    with_indices(a.columns, [&](const auto* columns) { body(columns + begin, rows); });
  }
};

// How many columns of the result are written to at once: few enough for first-level cache, where
// rows have a run of entries in so many. (4096 x 4096, half of all entries: blocks of 64, 128, 256
// columns and all at once take 2.8, 2.6, 3.2, 5.3 ns an entry. With a tenth, runs of 13 mispredict
// their end too often, of 25 take 2.3, all at once 3.4. With a fiftieth all at once is best.)
Index columns_at_once(const CsrView& a) {
  constexpr Index kFewest = 128, kMost = 512, kRun = 25;
  const Index row_entries = std::max<Index>(a.nnz() / std::max<Index>(a.rows, 1), 1);
  const Index columns = std::max(kFewest, kRun * a.cols / row_entries);
  return columns > kMost ? a.cols : columns;
}

// Calls run(row) for all rows, which returns how many entries it passed over; and polls.
template <class Run>
void for_each_row(const CsrView& a, Index& until_poll, Run run) {
  for (Index r = 0; r < a.rows; ++r) {
    if (until_poll <= 0) {
      poll();
      until_poll = kPollEntries;
    }
    until_poll -= run(r) + 1;
  }
}

// Calls body(row, entry) for all entries, those of one column by ascending row: a block of columns
// after the other, and of each row the run of entries that it has there.
template <class Column, class Body>
void for_each_by_blocks(const CsrView& a, const Column* columns, Body body) {
  Index until_poll = 0;
  const Index block = columns_at_once(a);
  if (block >= a.cols) {
    for_each_row(a, until_poll, [&](Index r) {
      const Index begin = a.offsets[r], end = a.offsets[r + 1];
      for (Index p = begin; p < end; ++p) body(r, p);
      return end - begin;
    });
    return;
  }
  constexpr Index kAhead = 8;  // rows: no hardware prefetcher follows the runs
  std::vector<Index> next(at(a.rows + kAhead));
  for (Index r = 0; r < a.rows; ++r) next[at(r)] = a.offsets[r];
  for (Index first = 0; first < a.cols; first += block) {
    const auto limit = static_cast<std::uint64_t>(std::min(first + block, a.cols));
    for_each_row(a, until_poll, [&](Index r) {
      __builtin_prefetch(columns + next[at(r + kAhead)]);
      const Index begin = next[at(r)], end = a.offsets[r + 1];
      Index p = begin;
      for (; p < end && columns[p] < limit; ++p) body(r, p);
      next[at(r)] = p;
      return p - begin;
    });
  }
}

// A counting sort straight into the result.
CanonicalCsr counted_transpose(const CsrView& a, const Values& values) {
  const bool keeps_order = values.data == nullptr;
  std::vector<Index> order(keeps_order ? at(a.nnz()) : 0);
  void* const out_values = keeps_order ? nullptr : values.room(a.nnz());
  std::vector<Index> offsets(at(a.cols) + 1);
  IndexArray rows(a.nnz(), column_width(a.rows));
  with_indices(a.columns, [&](const auto* columns) {
    for (Index p = 0; p < a.nnz(); ++p) ++offsets[at(static_cast<Index>(columns[p])) + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    std::vector<Index> next(offsets.begin(), offsets.end() - 1);
    with_indices(rows, [&]<class I>(I* out_rows) {
      const auto scatter = [&](auto value_of, auto* out) {
        for_each_by_blocks(a, columns, [&, places = next.data()](Index r, Index p) {
          const Index to = places[columns[p]]++;
          out_rows[to] = static_cast<I>(r);
          out[to] = value_of(p);
        });
      };
      if (keeps_order) return scatter(std::identity{}, order.data());
      with_item_size(item_size(values.dtype), [&]<class Bits>(Bits) {
        const auto* from = static_cast<const Bits*>(values.data);
        scatter([from](Index p) { return from[p]; }, static_cast<Bits*>(out_values));
      });
    });
  });
  CanonicalCsr result{std::make_shared<const CsrStructure>(a.cols, a.rows, compact_offsets(offsets),
                                                           std::move(rows)),
                      {}};
  if (keeps_order) result.order.order = std::move(order);
  return result;
}

}  // namespace

CanonicalCsr transpose(const CsrView& a, const Values& values, int threads) {
  constexpr Index kMostCounted = Index{1} << 17;  // places whose ends a second-level cache holds
  if (a.cols <= kMostCounted) {
    CanonicalCsr result;
    run_alone([&] { result = counted_transpose(a, values); });
    return result;
  }
  const int row_bits = bits_for(a.rows);
  const KeyBits bits{row_bits + bits_for(a.cols), row_bits};
  const TransposedEntries source{a, row_bits, values};
  threads = useful_threads(threads, sort_ns(source.size()));
  return with_entries(
      bits, source.size(), values, [&]<class Wide, class Low, class Payload>(Wide, Low, Payload) {
        return sorted_csr<Wide, Low, Payload>(source, {a.cols, a.rows, row_bits}, bits,
                                              Duplicates::kSum, values, threads);
      });
}

TransposedCsr transpose(const CsrView& a, int threads) {
  TransposedCsr result;
  const auto room = [&](Index size) -> void* {
    result.values = Pages<std::byte>(size * item_size(a.dtype));
    return result.values.data();
  };
  result.structure = transpose(a, Values{a.values, a.dtype, room}, threads).structure;
  return result;
}

}  // namespace sparsecore
