#include "../packed.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "../choose.h"
#include "../plan.h"
#include "accumulate.h"
#include "row_scatter.h"

namespace sparsecore {
namespace {

// Row blocks that share a column block's part of X while it is in the first-level cache; their sums
// stay in the second level.
constexpr std::int64_t kStripBlocks = 8;

// Row blocks have room for the rows that fill up their last group.
constexpr std::int64_t kSumRows = kPackedRows + kGroupRows;
static_assert(kPackedRows <= kWrittenRows);

// Up to so many columns at a time, whole vectors.
struct Columns {
  std::int64_t first, count;
  int vectors;
};

// Tiles of nearly equal width: 5 vectors are 3 + 2, not 4 + 1.
std::vector<Columns> tiles_of(std::int64_t columns, std::int64_t lanes, std::int64_t most_vectors) {
  const std::int64_t vectors = (columns + lanes - 1) / lanes;
  const std::int64_t tiles = (vectors + most_vectors - 1) / most_vectors;
  std::vector<Columns> result;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = vectors * t / tiles, end = vectors * (t + 1) / tiles;
    result.push_back({begin * lanes, std::min(columns, end * lanes) - begin * lanes,
                      static_cast<int>(end - begin)});
  }
  return result;
}

// Copies columns of X block by block, a row of zeros after each block: what padding points at.
template <class Acc>
void load_blocks(const Kernels<Acc>& k, const PackedStructure& a, const MatrixView& x,
                 const Columns& tile, std::int64_t stride, Acc* panel) {
  const std::int64_t height = a.block_columns() + 1;
  if (tile.count < stride) std::fill_n(panel, a.column_blocks() * height * stride, Acc{0});
  for (std::int64_t c = 0; c < a.column_blocks(); ++c) {
    const std::int64_t row = c * a.block_columns();
    const std::int64_t rows = std::min(a.block_columns(), x.rows - row);
    Acc* const block = panel + c * height * stride;
    k.load_panel(block_of(x, row, rows, tile.first, tile.count), block, stride);
    std::fill_n(block + a.block_columns() * stride, stride, Acc{0});
  }
}

template <class Acc>
class PackedProduct {
 public:
  PackedProduct(const PackedStructure& a, const void* values, DType dtype, const MatrixView& x,
                const Epilogue& epilogue, const MatrixView& out)
      : k_(kernels<Acc>()),
        a_(a),
        values_(values),
        dtype_(dtype),
        x_(x),
        epilogue_(k_, epilogue),
        out_(out) {}

  void run(int threads) {
    const std::int64_t panel_rows = a_.column_blocks() * (a_.block_columns() + 1);
    const std::int64_t lanes = k_.lanes;
    const std::vector<Columns> tiles = tiles_of(x_.cols, lanes, k_.packed_vectors);
    const auto ns = [&](std::int64_t columns) { return product_ns(a_.size(), out_.rows, columns); };
    const std::int64_t widest = k_.packed_vectors * lanes;
    PanelCopies<Acc> copies(panel_rows * std::min(widest, (x_.cols + lanes - 1) / lanes * lanes),
                            useful_threads(threads, ns(widest)));
    for (const Columns& tile : tiles) {
      const std::int64_t stride = tile.vectors * lanes;
      const int useful = useful_threads(threads, ns(stride));
      const IndexView starts{a_.starts().data(), 8, std::ssize(a_.starts())};
      parallel_for(
          balanced_bounds(starts, useful, ns(stride)), useful,
          [&](std::int64_t begin, std::int64_t end) {
            const Acc* const panel = copies.get(
                tile.first, [&](Acc* room) { load_blocks(k_, a_, x_, tile, stride, room); });
            const Scratch<Acc> sums(std::min(kStripBlocks, end - begin) * kSumRows * stride);
            for (std::int64_t b = begin; b < end; b += kStripBlocks) {
              strip(b, std::min(b + kStripBlocks, end), tile, panel, sums.data());
            }
          });
    }
  }

 private:
  void strip(std::int64_t begin, std::int64_t end, const Columns& columns, const Acc* panel,
             Acc* sums) const {
    const std::int64_t stride = columns.vectors * k_.lanes;
    for (std::int64_t c = 0; c < a_.column_blocks(); ++c) {
      for (std::int64_t b = begin; b < end; ++b) {
        const PackedStructure::Block block = a_.block(b, c);
        k_.packed_sweep({.groups = block.groups,
                         .counts = block.counts,
                         .rows = block.rows,
                         .offsets = a_.offsets(),
                         .values = values_,
                         .dtype = dtype_,
                         .first_entry = block.first_entry,
                         .panel = panel + c * (a_.block_columns() + 1) * stride,
                         .sums = sums + (b - begin) * kSumRows * stride,
                         .vectors = columns.vectors,
                         .first = c == 0});
      }
    }
    bool fits = true;
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t row = b * kPackedRows, rows = std::min(kPackedRows, out_.rows - row);
      fits &=
          k_.write_out(sums + (b - begin) * kSumRows * stride, stride, row, columns.first,
                       epilogue_.view(), block_of(out_, row, rows, columns.first, columns.count));
    }
    require_fits(fits);
  }

  const Kernels<Acc>& k_;
  const PackedStructure& a_;
  const void* values_;
  DType dtype_;
  const MatrixView& x_;
  EpilogueLoader<Acc> epilogue_;
  const MatrixView& out_;
};

class PackedPlan final : public Plan {
 public:
  PackedPlan(std::shared_ptr<const CsrStructure> structure, const void* values, DType dtype,
             int threads)
      : packed_(std::move(structure), threads), dtype_(dtype) {
    PackedPlan::update(values, threads);
    const IndexArray& offsets = packed_.csr()->offsets();
    for (std::int64_t r = 0; r < packed_.csr()->rows(); ++r) {
      longest_row_ = std::max(longest_row_, offsets[r + 1] - offsets[r]);
    }
  }

  void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out, bool transposed,
           int threads) const override {
    const Values values = values_.load();
    if (transposed) {
      const std::unique_ptr<std::byte[]> csr_values(new std::byte[csr_bytes()]);
      packed_.unpack(values->data(), item_size(dtype_), csr_values.get(), threads);
      row_scatter(packed_.csr()->view(csr_values.get(), dtype_), x, epilogue, out, threads);
      return;
    }
    with_accumulator(accumulator_for(dtype_, x.dtype, longest_row_), [&]<class Acc>(Acc) {
      PackedProduct<Acc>(packed_, values->data(), dtype_, x, epilogue, out).run(threads);
    });
  }

  void update(const void* values, int threads) override {
    auto fresh = std::make_shared<Pages<std::byte>>(packed_.size() * item_size(dtype_));
    packed_.pack(values, item_size(dtype_), fresh->data(), threads);
    values_.store(std::move(fresh));
  }

  void unpack(void* values, int threads) const override {
    packed_.unpack(values_.load()->data(), item_size(dtype_), values, threads);
  }

  const std::shared_ptr<const CsrStructure>& structure() const override { return packed_.csr(); }
  DType dtype() const override { return dtype_; }
  std::int64_t nbytes() const override {
    return packed_.nbytes() + packed_.size() * item_size(dtype_);
  }
  std::string_view kernel() const override { return "packed_sweep"; }

 private:
  using Values = std::shared_ptr<const Pages<std::byte>>;

  std::size_t csr_bytes() const {
    return static_cast<std::size_t>(packed_.csr()->nnz() * item_size(dtype_));
  }

  PackedStructure packed_;
  DType dtype_;
  std::int64_t longest_row_ = 0;
  std::atomic<Values> values_;
};

}  // namespace

std::unique_ptr<Plan> make_packed_plan(std::shared_ptr<const CsrStructure> structure,
                                       const void* values, DType dtype, int threads) {
  return std::make_unique<PackedPlan>(std::move(structure), values, dtype, threads);
}

}  // namespace sparsecore
