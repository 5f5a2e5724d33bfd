#include "blocked.h"

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "../choose.h"
#include "../parallel.h"
#include "block_product.h"

namespace sparsecore {
namespace {

constexpr double kStartNanoseconds = 0.1;  // an entry

// A matrix and its blocks, as BlockProduct reads them.
struct BlockedCsr {
  static constexpr bool kPartsOfVectors = true;
  const CsrView& a;
  const CsrBlocks& blocks;

  const BlockedRows& rows() const { return blocks.rows(); }
  static bool has_zero_rows() { return false; }
  std::int64_t entries() const { return a.nnz(); }
  const std::vector<std::int64_t>& starts() const { return blocks.starts(); }
  const void* values() const { return a.values; }
  DType dtype() const { return a.dtype; }

  template <class Acc>
  void load(const Kernels<Acc>& k, const MatrixView& x, std::int64_t first, std::int64_t most,
            const ColumnTile& tile, Acc* panel, std::int64_t stride) const {
    load_rows_of(k, x, first, most, tile, panel, stride);
  }
  template <class Acc>
  void sweep(const Kernels<Acc>& k, const BlockTile<Acc>& tile, std::int64_t row_block,
             std::int64_t column_block, std::int64_t) const {
    k.blocked_sweep({tile, a.columns, column_block * rows().block_columns(),
                     starts()[static_cast<std::size_t>(row_block)],
                     blocks.row_starts(row_block, column_block)});
  }
};

}  // namespace

CsrBlocks::CsrBlocks(const CsrView& a, int threads)
    : rows_(a, block_columns(a.rows, a.cols, a.nnz(), -1), threads) {
  for (std::int64_t b = 0; b < rows_.row_blocks(); ++b) {
    starts_.push_back(a.offsets[b * kBlockedRows]);
  }
  starts_.push_back(a.nnz());
  for (std::size_t b = 0; b + 1 < starts_.size(); ++b) {
    if (starts_[b + 1] - starts_[b] > std::int64_t{UINT32_MAX}) {
      throw std::invalid_argument(
          "prepare: A has more than 2^32 entries in 128 rows, kernel "
          "'blocked_sweep' takes fewer");
    }
  }
  row_starts_.resize(starts_.size() - 1);
  const double ns = kStartNanoseconds * static_cast<double>(a.nnz());
  const int useful = useful_threads(threads, ns);
  parallel_for(even_bounds(rows_.row_blocks(), useful, ns), useful,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   std::vector<std::uint32_t>& to = row_starts_[static_cast<std::size_t>(b)];
                   const std::int64_t groups = rows_.block(b, 0).groups,
                                      first = starts_[static_cast<std::size_t>(b)];
                   to.resize(static_cast<std::size_t>(rows_.column_blocks() * groups * kGroupRows));
                   rows_.for_each_group(
                       a.offsets, b,
                       [&](std::int64_t c, std::int64_t g, const std::uint16_t*,
                           const std::int64_t* entries) {
                         for (std::int64_t i = 0; i < kGroupRows; ++i) {
                           to[static_cast<std::size_t>((c * groups + g) * kGroupRows + i)] =
                               static_cast<std::uint32_t>(entries[i] - first);
                         }
                       });
                 }
               });
}

const std::uint32_t* CsrBlocks::row_starts(std::int64_t row_block,
                                           std::int64_t column_block) const {
  const std::vector<std::uint32_t>& starts = row_starts_[static_cast<std::size_t>(row_block)];
  return starts.data() + column_block * (std::ssize(starts) / rows_.column_blocks());
}

std::int64_t CsrBlocks::nbytes() const {
  std::int64_t items = 0;
  for (const std::vector<std::uint32_t>& starts : row_starts_) items += std::ssize(starts);
  return rows_.nbytes() + items * std::int64_t{sizeof(std::uint32_t)} +
         std::ssize(starts_) * std::int64_t{sizeof(std::int64_t)};
}

void blocked_sweep(const CsrView& a, const CsrBlocks& blocks, const MatrixView& x,
                   const Epilogue& epilogue, const MatrixView& out, int threads) {
  const BlockedCsr blocked{a, blocks};
  with_accumulator(accumulator_for(a.dtype, x.dtype, longest_row(a.offsets)), [&]<class Acc>(Acc) {
    BlockProduct<Acc, BlockedCsr>(blocked, x, epilogue, out).run(threads);
  });
}

}  // namespace sparsecore
