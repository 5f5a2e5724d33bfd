#include "../block_permute.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>

#include "../choose.h"
#include "../plan.h"
#include "accumulate.h"
#include "stateless.h"

namespace sparsecore {
namespace {

using Structure = BlockPermuteStructure;

// Row blocks' sums have room for the lanes of a last group that have no row.
constexpr std::int64_t kSumRows = Structure::kRows + kChunkRows;

double block_permute_ns(std::int64_t slots, std::int64_t rows, std::int64_t n) {
  return static_cast<double>(slots) * (0.04 + 0.05 * static_cast<double>(n)) +
         static_cast<double>(rows) * (1 + static_cast<double>(n));
}

// panel[j * stride + position(k)] = x[k][j], with zeros where padding points: behind every gathered
// window, and (though kernels have a zero of their own there) behind the last column.
template <class Acc>
void load_columns(const Kernels<Acc>& k, const Structure& a, const MatrixView& x, Acc* panel,
                  std::int64_t stride) {
  const std::int64_t window =
      std::max<std::int64_t>(a.form() == ChunkForm::kGathered ? a.window() : x.rows, 1);
  // Its columns are the panel's rows.
  const MatrixView turned{x.data, x.dtype, x.cols, x.rows, x.col_stride, x.row_stride};
  for (std::int64_t c = 0; c < x.rows; c += window) {
    const std::int64_t n = std::min(window, x.rows - c);
    Acc* const to = panel + a.position(c);
    if (x.dtype == DTypeOf<Acc>::value && x.cols > 1) {
      // Four columns at most: load_panel's blocks of eight would be half empty.
      const Acc* const from = static_cast<const Acc*>(x.data) + c * x.row_stride;
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < x.cols; ++j) {
          to[j * stride + i] = from[i * x.row_stride + j * x.col_stride];
        }
      }
    } else {
      k.load_panel(block_of(turned, 0, x.cols, c, n), to, stride);
    }
  }
  const std::int64_t length = a.copy_length();
  for (std::int64_t j = 0; j < x.cols; ++j) {
    Acc* const row = panel + j * stride;
    if (a.form() == ChunkForm::kGathered) {
      for (std::int64_t zero = window; zero < length; zero += window + 1) row[zero] = 0;
    } else {
      std::fill(row + x.rows, row + length, Acc{0});
    }
  }
}

template <class Acc>
class BlockPermuteProduct {
 public:
  BlockPermuteProduct(const Structure& a, const void* values, DType dtype, const MatrixView& x,
                      const Epilogue& epilogue, const MatrixView& out)
      : k_(kernels<Acc>()),
        a_(a),
        values_(values),
        dtype_(dtype),
        x_(x),
        epilogue_(k_, epilogue),
        is_plain_(epilogue.empty() && out.dtype == DTypeOf<Acc>::value),
        out_(out),
        stride_((a.copy_length() + 15) / 16 * 16) {}

  // Columns in tiles of nearly equal width: 5 are 3 + 2, not 4 + 1.
  void run(int threads) {
    const std::int64_t most = permute_columns(a_.form());
    const std::int64_t tiles = (x_.cols + most - 1) / most;
    const std::int64_t widest = tiles == 0 ? 0 : (x_.cols + tiles - 1) / tiles;
    const double ns = block_permute_ns(a_.size(), out_.rows, widest);
    const int useful = useful_threads(threads, ns);
    const IndexView starts{a_.block_starts().data(), 8, std::ssize(a_.block_starts())};
    const auto bounds = [&] { return balanced_bounds(starts, useful, ns); };
    PanelCopies<Acc> copies(widest * stride_, useful);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t begin = x_.cols * t / tiles, end = x_.cols * (t + 1) / tiles;
      const std::int64_t blocks = starts.size - 1;
      parallel_for(blocks, useful, ns, bounds, [&](std::int64_t first, std::int64_t last) {
        const Acc* const panel = copies.get(begin, [&](Acc* room) {
          load_columns(k_, a_, block_of(x_, 0, x_.rows, begin, end - begin), room, stride_);
        });
        for (std::int64_t b = first; b < last; ++b) row_block(b, begin, end - begin, panel);
      });
    }
  }

 private:
  void row_block(std::int64_t b, std::int64_t col, std::int64_t n, const Acc* panel) const {
    const std::int64_t row = b * Structure::kRows;
    const std::int64_t rows = std::min(Structure::kRows, out_.rows - row);
    alignas(64) Acc room[kSumRows * kPermuteColumns];
    const bool in_place = sums_are_result(n) && rows % kChunkRows == 0;
    Acc* const sums = in_place ? static_cast<Acc*>(out_.data) + row * n : room;
    const Structure::Block block = a_.block(b);
    k_.block_permute({.starts = block.starts.data(),
                      .groups = std::ssize(block.starts) - 1,
                      .rows = block.rows,
                      .form = a_.form(),
                      .bases = a_.bases(),
                      .codes = a_.codes(),
                      .values = values_,
                      .dtype = dtype_,
                      .x = panel,
                      .x_stride = stride_,
                      .columns = static_cast<int>(n),
                      .sums = sums,
                      .gathers = gathers_});
    if (in_place) return;
    if (is_plain_) return copy_out(sums, block_of(out_, row, rows, col, n));
    bool fits = true;
    for (std::int64_t r = 0; r < rows; r += kBlockRows) {
      fits &= k_.write_out(sums + r * n, n, row + r, col, epilogue_.view(),
                           block_of(out_, row + r, std::min(kBlockRows, rows - r), col, n));
    }
    require_fits(fits);
  }

  // Whether the sums of so many columns lie in the result as they do in a row block.
  bool sums_are_result(std::int64_t n) const {
    return is_plain_ && out_.cols == n && out_.row_stride == n && (n == 1 || out_.col_stride == 1);
  }

  static void copy_out(const Acc* sums, const MatrixView& out) {
    Acc* const to = static_cast<Acc*>(out.data);
    for (std::int64_t r = 0; r < out.rows; ++r) {
      for (std::int64_t j = 0; j < out.cols; ++j) {
        to[r * out.row_stride + j * out.col_stride] = sums[r * out.cols + j];
      }
    }
  }

  const Kernels<Acc>& k_;
  const Structure& a_;
  const void* values_;
  DType dtype_;
  const MatrixView& x_;
  EpilogueLoader<Acc> epilogue_;
  bool is_plain_;
  const MatrixView& out_;
  std::int64_t stride_;
  Gathers gathers_ = best_gathers();
};

class BlockPermutePlan final : public Plan {
 public:
  BlockPermutePlan(const std::shared_ptr<const CsrStructure>& csr, const void* values, DType dtype,
                   int threads)
      : structure_(csr, form_for(*csr, dtype), threads),
        dtype_(dtype),
        longest_row_(longest_row(csr->offsets().view())) {
    update(values, threads);
  }

  void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out, bool transposed,
           int threads) const override {
    const Values values = values_.load();
    const CsrStructure& csr = *structure_.csr();
    const DType sums = accumulator_for(dtype_, x.dtype, longest_row_);
    // Registers are looked up in 32 bits at a time.
    const bool is_unfit = structure_.form() != ChunkForm::kGathered && sums == DType::kFloat64;
    if (transposed || is_unfit) {
      const std::unique_ptr<std::byte[]> csr_values(
          new std::byte[static_cast<std::size_t>(csr.nnz() * item_size(dtype_))]);
      structure_.unpack(values->data(), item_size(dtype_), csr_values.get());
      const CsrView view = csr.view(csr_values.get(), dtype_);
      return transposed ? transposed_product(view, x, epilogue, out, threads)
                        : csr_product(view, x, epilogue, out, threads);
    }
    with_accumulator(sums, [&]<class Acc>(Acc) {
      BlockPermuteProduct<Acc>(structure_, values->data(), dtype_, x, epilogue, out).run(threads);
    });
  }

  PutInPlace made_from(const void* values, int threads) const override {
    const auto fresh = std::make_shared<Pages<std::byte>>(structure_.size() * item_size(dtype_));
    structure_.pack(values, item_size(dtype_), fresh->data(), threads);
    return [this, fresh] { values_.store(fresh); };
  }

  void unpack(void* values, int) const override {
    structure_.unpack(values_.load()->data(), item_size(dtype_), values);
  }

  PlanShape shape() const override { return shape_of(*structure_.csr()); }
  std::shared_ptr<const CsrStructure> structure() const override { return structure_.csr(); }
  DType dtype() const override { return dtype_; }
  std::int64_t nbytes() const override {
    return structure_.nbytes() + structure_.size() * item_size(dtype_);
  }
  std::string_view kernel() const override { return "block_permute"; }

 private:
  using Values = std::shared_ptr<const Pages<std::byte>>;

  static ChunkForm form_for(const CsrStructure& csr, DType dtype) {
    if (csr.cols() > kMostPermutedColumns) {
      throw std::invalid_argument("prepare: A has " + std::to_string(csr.cols()) +
                                  " columns, kernel 'block_permute' takes at most 2^31");
    }
    return chunk_form(csr.rows(), csr.cols(), csr.nnz(), dtype, kernels<float>().permutes);
  }

  Structure structure_;
  DType dtype_;
  std::int64_t longest_row_;
  mutable std::atomic<Values> values_;
};

}  // namespace

std::unique_ptr<Plan> make_block_permute_plan(const std::shared_ptr<const CsrStructure>& structure,
                                              const void* values, DType dtype, int threads) {
  return std::make_unique<BlockPermutePlan>(structure, values, dtype, threads);
}

}  // namespace sparsecore
