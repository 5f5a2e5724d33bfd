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

  template <class Wide, class Payload>
  void read(Index begin, Index count, Wide* keys, Payload* payloads) const {
    with_indices(a.columns, [&](const auto* columns) {
      for (Index i = 0; i < count; ++i) keys[i] = static_cast<Wide>(columns[begin + i]) << row_bits;
    });
    with_indices(a.offsets, [&](const auto* offsets) {
      const auto* next = std::upper_bound(offsets, offsets + a.rows, at(begin));
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

// A counting sort straight into the result: it writes to as many places at once as there are
// columns.
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
        Index next_poll = 0;
        for (Index r = 0, p = 0; r < a.rows; ++r) {
          if (p >= next_poll) {
            poll();
            next_poll = p + kPollEntries;
          }
          for (const Index end = a.offsets[r + 1]; p < end; ++p) {
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
