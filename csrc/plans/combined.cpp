#include "combined.h"

#include <algorithm>
#include <vector>

#include "block_product.h"

namespace sparsecore {
namespace {

using Acc = std::int32_t;

class CombinedBlocks {
 public:
  static constexpr bool kPartsOfVectors = false;

  CombinedBlocks(const CombinedStructure& a, const CombinedStructure::Values& values)
      : a_(a), values_(values) {}
  const BlockedRows& rows() const { return a_.packed().rows(); }
  bool has_zero_rows() const { return a_.packed().has_zero_rows(); }
  std::int64_t entries() const { return a_.packed().size(); }
  std::vector<std::int64_t> starts() const { return a_.packed().row_block_starts(); }
  const void* values() const { return values_.items.data(); }
  DType dtype() const { return DType::kInt32; }

  void load(const Kernels<Acc>& k, const MatrixView& x, std::int64_t first, std::int64_t most,
            const ColumnTile& tile, Acc* panel, std::int64_t stride) const {
    const std::int64_t row = first * a_.width();
    const std::int64_t rows = std::min(most * a_.width(), x.rows - row);
    if (rows <= 0) return;
    (a_.width() == 4 ? k.combined.load_quads : k.combined.load_pairs)(
        block_of(x, row, rows, tile.first, tile.count), panel, stride);
  }

  void sweep(const Kernels<Acc>& k, BlockTile<Acc> tile, std::int64_t row_block,
             std::int64_t column_block, std::int64_t panel_offset) const {
    tile.panel += panel_offset;
    (a_.width() == 4 ? k.combined.quad_sweep : k.combined.pair_sweep)(
        {{tile, a_.packed().offsets(), a_.packed().start(row_block, column_block),
          true,  // what padding names is multiplied by zero, and nothing is infinite
          false},
         values_.first_sums.data() + row_block * kBlockedRows});
  }

 private:
  const CombinedStructure& a_;
  const CombinedStructure::Values& values_;
};

}  // namespace

void combined_product(const CombinedStructure& a, const CombinedStructure::Values& values,
                      const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
                      int threads) {
  const CombinedBlocks blocks(a, values);
  BlockProduct<Acc, CombinedBlocks>(blocks, x, epilogue, out).run(threads);
}

}  // namespace sparsecore
