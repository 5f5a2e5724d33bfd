#include "packed.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

#include "choose.h"
#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
Index blocks_of(Index size, Index block) { return (size + block - 1) / block; }

constexpr double kPackNanoseconds = 1;  // an entry, each of the three passes

// How many of the sorted columns [p, end) are below `limit`. Sixteen comparisons at a time, so that
// a row with a few entries in a block costs no mispredicted branch.
template <class Column>
Index count_below(const Column* p, const Column* end, std::uint64_t limit) {
  if (limit > std::numeric_limits<Column>::max()) return end - p;
  const auto bound = static_cast<Column>(limit);
  constexpr Index kAtOnce = 16;
  const Column* const begin = p;
  while (end - p >= kAtOnce) {
    Index below = 0;
    for (Index i = 0; i < kAtOnce; ++i) below += p[i] < bound ? 1 : 0;
    p += below;
    if (below < kAtOnce) return p - begin;
  }
  while (p < end && *p < bound) ++p;
  return p - begin;
}

// out[4 * l + i] = item(i, l) for l < counts[i], else `padding`: four rows step by step.
template <class Item, class T>
void interleave(const std::uint16_t* counts, Item item, T padding, T* out) {
  const Index longest = counts[0], shortest = counts[kGroupRows - 1];
  for (Index l = 0; l < shortest; ++l) {
    for (Index i = 0; i < kGroupRows; ++i) out[l * kGroupRows + i] = item(i, l);
  }
  for (Index l = shortest; l < longest; ++l) {
    for (Index i = 0; i < kGroupRows; ++i) {
      out[l * kGroupRows + i] = l < counts[i] ? item(i, l) : padding;
    }
  }
}

}  // namespace

PackedStructure::PackedStructure(std::shared_ptr<const CsrStructure> csr, int threads)
    : csr_(std::move(csr)),
      block_columns_(packed_block_columns(csr_->rows(), csr_->cols(), csr_->nnz())),
      column_blocks_(std::max<Index>(1, blocks_of(csr_->cols(), block_columns_))),
      blocks_(at(blocks_of(csr_->rows(), kPackedRows))) {
  for_row_blocks(threads, [&](Index b) { blocks_[at(b)] = sorted_rows(b); });
  for (RowBlock& block : blocks_) {
    for (Index& begin : block.begin) begin += size_;
    size_ = block.begin.back();
    starts_.push_back(size_);
  }
  offsets_ = Pages<std::uint16_t>(size_);
  const auto padding = static_cast<std::uint16_t>(block_columns_);
  with_indices(csr_->columns(), [&](const auto* columns) {
    for_row_blocks(threads, [&](Index b) {
      for_each_group(b, [&](Index c, const std::uint16_t* counts, Index entry, const Index* from) {
        const auto first_column = static_cast<std::uint64_t>(c * block_columns_);
        interleave(
            counts,
            [&](Index i, Index l) {
              return static_cast<std::uint16_t>(columns[from[i] + l] - first_column);
            },
            padding, offsets_.data() + entry);
      });
    });
  });
}

template <class Body>
void PackedStructure::for_row_blocks(int threads, Body body) const {
  const double ns = kPackNanoseconds * static_cast<double>(csr_->nnz());
  const int useful = useful_threads(threads, ns);
  parallel_for(even_bounds(row_blocks(), useful, ns), useful, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) body(b);
  });
}

Index PackedStructure::groups(Index row_block) const {
  return blocks_of(std::min(kPackedRows, csr_->rows() - row_block * kPackedRows), kGroupRows);
}

PackedStructure::Block PackedStructure::block(Index row_block, Index column_block) const {
  const RowBlock& block = blocks_[at(row_block)];
  const Index n = groups(row_block), first = kGroupRows * column_block * n;
  return {n, block.counts.data() + first, block.rows.data() + first, block.begin[at(column_block)]};
}

Index PackedStructure::nbytes() const {
  Index bytes = size_ * Index{sizeof(std::uint16_t)};
  for (const RowBlock& block : blocks_) {
    bytes += static_cast<Index>((block.counts.size() + block.rows.size()) * sizeof(std::uint16_t) +
                                block.begin.size() * sizeof(Index));
  }
  return bytes;
}

// The rows of each column block by their number of entries, by counting. (Beginnings are counted
// from the row block's own first entry here.)
PackedStructure::RowBlock PackedStructure::sorted_rows(Index row_block) const {
  const Index first_row = row_block * kPackedRows, group_rows = groups(row_block) * kGroupRows;
  const Index rows = std::min(kPackedRows, csr_->rows() - first_row);
  RowBlock result;
  result.counts.resize(at(column_blocks_ * group_rows));
  result.rows.resize(at(column_blocks_ * group_rows));
  result.begin.reserve(at(column_blocks_) + 1);
  result.begin.push_back(0);
  std::array<Index, kPackedRows> next{}, ends{};
  for (Index r = 0; r < rows; ++r) {
    next[at(r)] = csr_->offsets()[first_row + r];
    ends[at(r)] = csr_->offsets()[first_row + r + 1];
  }
  std::array<std::uint16_t, kPackedRows> found{};
  std::vector<std::uint16_t> places(at(block_columns_) + 2);
  with_indices(csr_->columns(), [&](const auto* columns) {
    for (Index c = 0; c < column_blocks_; ++c) {
      const auto limit = static_cast<std::uint64_t>((c + 1) * block_columns_);
      std::fill(places.begin(), places.end(), std::uint16_t{0});
      for (Index r = 0; r < rows; ++r) {
        Index& p = next[at(r)];
        const Index count = count_below(columns + p, columns + ends[at(r)], limit);
        p += count;
        found[at(r)] = static_cast<std::uint16_t>(count);
        ++places[at(block_columns_ - count) + 1];
      }
      std::partial_sum(places.begin(), places.end(), places.begin());
      std::uint16_t* const counts = result.counts.data() + c * group_rows;
      std::uint16_t* const order = result.rows.data() + c * group_rows;
      for (Index i = rows; i < group_rows; ++i) {
        order[i] = static_cast<std::uint16_t>(kPackedRows + i % kGroupRows);
      }
      for (Index r = 0; r < rows; ++r) {
        const std::uint16_t place = places[at(block_columns_ - found[at(r)])]++;
        counts[place] = found[at(r)];
        order[place] = static_cast<std::uint16_t>(r);
      }
      Index entries = 0;
      for (Index g = 0; g < group_rows; g += kGroupRows) entries += kGroupRows * Index{counts[g]};
      result.begin.push_back(result.begin.back() + entries);
    }
  });
  return result;
}

template <class Body>
void PackedStructure::for_each_group(Index row_block, Body body) const {
  const Index first_row = row_block * kPackedRows;
  std::array<Index, kPackedRows + kGroupRows> next{};
  for (Index r = 0; r < std::min(kPackedRows, csr_->rows() - first_row); ++r) {
    next[at(r)] = csr_->offsets()[first_row + r];
  }
  for (Index c = 0; c < column_blocks_; ++c) {
    const Block part = block(row_block, c);
    Index entry = part.first_entry;
    for (Index g = 0; g < part.groups * kGroupRows; g += kGroupRows) {
      const std::uint16_t* const counts = part.counts + g;
      if (counts[0] == 0) break;  // so are all groups after it
      std::array<Index, kGroupRows> from;
      for (Index i = 0; i < kGroupRows; ++i) {
        Index& p = next[part.rows[g + i]];
        from[at(i)] = p;
        p += counts[i];
      }
      body(c, counts, entry, from.data());
      entry += kGroupRows * Index{counts[0]};
    }
  }
}

void PackedStructure::pack(const void* csr_values, Index item_size, void* packed,
                           int threads) const {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* values = static_cast<const Bits*>(csr_values);
    auto* to = static_cast<Bits*>(packed);
    for_row_blocks(threads, [&](Index b) {
      for_each_group(b, [&](Index, const std::uint16_t* counts, Index entry, const Index* from) {
        interleave(
            counts, [&](Index i, Index l) { return values[from[i] + l]; }, Bits{0}, to + entry);
      });
    });
  });
}

void PackedStructure::unpack(const void* packed, Index item_size, void* csr_values,
                             int threads) const {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* values = static_cast<const Bits*>(packed);
    auto* to = static_cast<Bits*>(csr_values);
    for_row_blocks(threads, [&](Index b) {
      for_each_group(b, [&](Index, const std::uint16_t* counts, Index entry, const Index* from) {
        for (Index i = 0; i < kGroupRows; ++i) {
          for (Index l = 0; l < counts[i]; ++l) {
            to[from[i] + l] = values[entry + l * kGroupRows + i];
          }
        }
      });
    });
  });
}

}  // namespace sparsecore
