#include "combined.h"

#include <memory>
#include <numeric>
#include <utility>

#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

constexpr double kCombineNanoseconds = 1;  // an entry

int shift_of(int width) { return width == 4 ? 2 : 1; }

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// Calls body(row) for every row.
template <class Body>
void for_each_row(const CsrStructure& csr, int threads, Body body) {
  const double ns = kCombineNanoseconds * static_cast<double>(csr.nnz());
  const int useful = useful_threads(threads, ns);
  parallel_for(balanced_bounds(csr.offsets().view(), useful, ns), useful,
               [&](Index begin, Index end) {
                 for (Index r = begin; r < end; ++r) body(r);
               });
}

// Calls body(entry, item, column, is_first) for the entries of a row, without a branch that only
// chance decides; returns the number of items, which are counted from 0. 2^shift columns an item.
template <class I, class Body>
Index for_each_entry(const I* columns, Index begin, Index end, int shift, Body body) {
  Index item = -1;
  std::uint64_t last = ~std::uint64_t{0};
  for (Index p = begin; p < end; ++p) {
    const std::uint64_t column = static_cast<std::uint64_t>(columns[p]) >> shift;
    const bool is_first = column != last;
    item += is_first ? 1 : 0;
    body(p, item, column, is_first);
    last = column;
  }
  return item + 1;
}

std::shared_ptr<const CsrStructure> pattern_of_items(const CsrStructure& csr, int shift,
                                                     int threads) {
  return with_indices(csr.columns(), [&](const auto* columns) {
    const IndexArray& offsets = csr.offsets();
    std::vector<Index> ends(at(csr.rows()) + 1);
    for_each_row(csr, threads, [&](Index r) {
      ends[at(r) + 1] = for_each_entry(columns, offsets[r], offsets[r + 1], shift,
                                       [](Index, Index, std::uint64_t, bool) {});
    });
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    const Index cols = csr.cols() == 0 ? 0 : ((csr.cols() - 1) >> shift) + 1;
    IndexArray items(ends.back(), column_width(cols));
    with_indices(items, [&]<class I>(I* out) {
      for_each_row(csr, threads, [&](Index r) {
        I* const to = out + ends[at(r)];
        for_each_entry(columns, offsets[r], offsets[r + 1], shift,
                       [&](Index, Index item, std::uint64_t column, bool) {
                         to[item] = static_cast<I>(column);
                       });
      });
    });
    return std::make_shared<const CsrStructure>(csr.rows(), cols, compact_offsets(ends),
                                                std::move(items));
  });
}

}  // namespace

CombinedStructure::CombinedStructure(const CsrStructure& csr, int width, int threads)
    : width_(width), packed_(pattern_of_items(csr, shift_of(width), threads), -1, threads) {}

CombinedStructure::Values CombinedStructure::pack(const CsrStructure& csr,
                                                  const std::int8_t* csr_values,
                                                  int threads) const {
  const Pages<std::uint32_t> in_order(packed_.shape().nnz);
  const Index rows = packed_.rows().row_blocks() * kBlockedRows + kGroupRows;
  Values result{Pages<std::int32_t>(packed_.size()), std::vector<std::int32_t>(at(rows)),
                (packed_.size() + rows) * Index{sizeof(std::int32_t)}};
  const int shift = shift_of(width_), bits = 32 >> shift;
  const std::uint32_t mask = (1u << bits) - 1u;
  const std::int32_t excess = width_ == 4 ? 128 : 0;
  with_indices(csr.columns(), [&](const auto* columns) {
    for_each_row(csr, threads, [&](Index r) {
      std::uint32_t* const to = in_order.data() + packed_.row_starts()[r];
      std::uint32_t lane = 0;
      std::int32_t sum = 0;
      for_each_entry(columns, csr.offsets()[r], csr.offsets()[r + 1], shift,
                     [&](Index p, Index item, std::uint64_t, bool is_first) {
                       const int place = static_cast<int>(columns[p]) & (width_ - 1);
                       const auto value = static_cast<std::uint32_t>(csr_values[p]) & mask;
                       lane = (is_first ? 0u : lane) | value << (place * bits);
                       to[item] = lane;
                       sum += csr_values[p];
                     });
      result.first_sums[at(r)] = -excess * sum;
    });
  });
  packed_.pack(in_order.data(), sizeof(std::int32_t), result.items.data(), threads);
  return result;
}

}  // namespace sparsecore
