#include "packed.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>

#include "choose.h"
#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
Index blocks_of(Index size, Index block) { return (size + block - 1) / block; }

constexpr double kPackNanoseconds = 2;  // an entry

}  // namespace

PackedStructure::PackedStructure(std::shared_ptr<const CsrStructure> csr, int threads)
    : csr_(std::move(csr)),
      block_columns_(packed_block_columns(csr_->rows(), csr_->cols(), csr_->nnz())),
      column_blocks_(std::max<Index>(1, blocks_of(csr_->cols(), block_columns_))),
      blocks_(at(blocks_of(csr_->rows(), kPackedRows))) {
  const double ns = kPackNanoseconds * static_cast<double>(csr_->nnz());
  const int useful = useful_threads(threads, ns);
  const Bounds bounds = even_bounds(row_blocks(), useful, ns);
  parallel_for(bounds, useful, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) blocks_[at(b)] = sorted_rows(b);
  });
  for (RowBlock& block : blocks_) {
    for (Index& begin : block.begin) begin += size_;
    size_ = block.begin.back();
    starts_.push_back(size_);
  }
  offsets_ = Pages<std::uint16_t>(size_);
  parallel_for(bounds, useful, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) fill_offsets(b);
  });
}

Index PackedStructure::groups(Index row_block) const {
  return blocks_of(std::min(kPackedRows, csr_->rows() - row_block * kPackedRows), kGroupRows);
}

PackedStructure::Block PackedStructure::block(Index row_block, Index column_block) const {
  const RowBlock& block = blocks_[at(row_block)];
  const Index n = groups(row_block), first = column_block * n;
  return {std::span(block.lengths).subspan(at(first), at(n)),
          block.rows.data() + kGroupRows * first, block.begin[at(column_block)]};
}

Index PackedStructure::nbytes() const {
  Index bytes = size_ * Index{sizeof(std::uint16_t)};
  for (const RowBlock& block : blocks_) {
    bytes += static_cast<Index>((block.lengths.size() + block.rows.size()) * sizeof(std::uint16_t) +
                                block.begin.size() * sizeof(Index));
  }
  return bytes;
}

// The rows of each column block by their number of entries, by counting. (Beginnings are counted
// from the row block's own first entry here.)
PackedStructure::RowBlock PackedStructure::sorted_rows(Index row_block) const {
  const Index first_row = row_block * kPackedRows, group_count = groups(row_block);
  const Index rows = std::min(kPackedRows, csr_->rows() - first_row);
  RowBlock result;
  result.lengths.reserve(at(column_blocks_ * group_count));
  result.rows.reserve(at(column_blocks_ * group_count * kGroupRows));
  result.begin.reserve(at(column_blocks_) + 1);
  result.begin.push_back(0);
  std::array<Index, kPackedRows> next{};
  for (Index r = 0; r < rows; ++r) next[at(r)] = csr_->offsets()[first_row + r];
  std::array<std::uint16_t, kPackedRows> counts{};
  std::vector<std::uint16_t> places(at(block_columns_) + 2);
  with_indices(csr_->columns(), [&](const auto* columns) {
    for (Index c = 0; c < column_blocks_; ++c) {
      const auto limit = static_cast<std::uint64_t>((c + 1) * block_columns_);
      std::fill(places.begin(), places.end(), std::uint16_t{0});
      for (Index r = 0; r < rows; ++r) {
        const Index end = csr_->offsets()[first_row + r + 1], begin = next[at(r)];
        Index p = begin;
        while (p < end && columns[p] < limit) ++p;
        next[at(r)] = p;
        counts[at(r)] = static_cast<std::uint16_t>(p - begin);
        ++places[at(block_columns_ - counts[at(r)]) + 1];
      }
      std::partial_sum(places.begin(), places.end(), places.begin());
      const std::size_t base = result.rows.size();
      for (Index i = 0; i < group_count * kGroupRows; ++i) {
        result.rows.push_back(static_cast<std::uint16_t>(kPackedRows + i % kGroupRows));
      }
      for (Index r = 0; r < rows; ++r) {
        const std::uint16_t place = places[at(block_columns_ - counts[at(r)])]++;
        result.rows[base + place] = static_cast<std::uint16_t>(r);
      }
      Index entries = 0;
      for (Index g = 0; g < group_count; ++g) {
        const std::uint16_t length = counts[result.rows[base + at(g * kGroupRows)]];
        result.lengths.push_back(length);
        entries += Index{length} * kGroupRows;
      }
      result.begin.push_back(result.begin.back() + entries);
    }
  });
  return result;
}

void PackedStructure::fill_offsets(Index row_block) {
  const Index first_row = row_block * kPackedRows;
  std::array<Index, kPackedRows> next{};
  for (Index r = 0; r < std::min(kPackedRows, csr_->rows() - first_row); ++r) {
    next[at(r)] = csr_->offsets()[first_row + r];
  }
  const auto padding = static_cast<std::uint16_t>(block_columns_);
  with_indices(csr_->columns(), [&](const auto* columns) {
    for (Index c = 0; c < column_blocks_; ++c) {
      const Block part = block(row_block, c);
      const Index first_column = c * block_columns_, limit = first_column + block_columns_;
      std::uint16_t* out = offsets_.data() + part.first_entry;
      for (std::size_t g = 0; g < part.lengths.size(); ++g) {
        const Index length = part.lengths[g];
        for (Index i = 0; i < kGroupRows; ++i) {
          const Index r = part.rows[at(i) + g * kGroupRows];
          Index l = 0;
          if (r < kPackedRows) {
            const Index end = csr_->offsets()[first_row + r + 1];
            Index& p = next[at(r)];
            for (; p < end && static_cast<Index>(columns[p]) < limit; ++p, ++l) {
              out[l * kGroupRows + i] =
                  static_cast<std::uint16_t>(static_cast<Index>(columns[p]) - first_column);
            }
          }
          for (; l < length; ++l) out[l * kGroupRows + i] = padding;
        }
        out += length * kGroupRows;
      }
    }
  });
}

template <class Body>
void PackedStructure::for_each_entry(Index row_block, Body body) const {
  const Index first_row = row_block * kPackedRows;
  std::array<Index, kPackedRows> next{};
  for (Index r = 0; r < std::min(kPackedRows, csr_->rows() - first_row); ++r) {
    next[at(r)] = csr_->offsets()[first_row + r];
  }
  const auto padding = static_cast<std::uint16_t>(block_columns_);
  for (Index c = 0; c < column_blocks_; ++c) {
    const Block part = block(row_block, c);
    Index entry = part.first_entry;
    for (std::size_t g = 0; g < part.lengths.size(); ++g) {
      const Index end = entry + Index{part.lengths[g]} * kGroupRows;
      for (Index i = 0; i < kGroupRows; ++i) {
        const Index r = part.rows[at(i) + g * kGroupRows];
        if (r >= kPackedRows) continue;
        Index& p = next[at(r)];
        for (Index e = entry + i; e < end && offsets_[e] != padding; e += kGroupRows) body(e, p++);
      }
      entry = end;
    }
  }
}

void PackedStructure::pack(const void* csr_values, Index item_size, void* packed,
                           int threads) const {
  std::memset(packed, 0, at(size_ * item_size));  // the padding
  const double ns = kPackNanoseconds * static_cast<double>(size_);
  const int useful = useful_threads(threads, ns);
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* from = static_cast<const Bits*>(csr_values);
    auto* to = static_cast<Bits*>(packed);
    parallel_for(even_bounds(row_blocks(), useful, ns), useful, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) {
        for_each_entry(b, [&](Index entry, Index p) { to[entry] = from[p]; });
      }
    });
  });
}

void PackedStructure::unpack(const void* packed, Index item_size, void* csr_values) const {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* from = static_cast<const Bits*>(packed);
    auto* to = static_cast<Bits*>(csr_values);
    for (Index b = 0; b < row_blocks(); ++b) {
      for_each_entry(b, [&](Index entry, Index p) { to[p] = from[entry]; });
    }
  });
}

}  // namespace sparsecore
