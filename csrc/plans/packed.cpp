#include "../packed.h"

#include <atomic>
#include <utility>
#include <vector>

#include "../choose.h"
#include "../plan.h"
#include "block_product.h"
#include "combined.h"
#include "packed.h"
#include "stateless.h"

namespace sparsecore {
namespace {

class PackedBlocks {
 public:
  static constexpr bool kPartsOfVectors = true;

  PackedBlocks(const PackedStructure& a, const void* values, DType dtype)
      : a_(a), values_(values), dtype_(dtype) {}
  const BlockedRows& rows() const { return a_.rows(); }
  bool has_zero_rows() const { return a_.has_zero_rows(); }
  std::int64_t entries() const { return a_.size(); }
  std::vector<std::int64_t> starts() const { return a_.row_block_starts(); }
  const void* values() const { return values_; }
  DType dtype() const { return dtype_; }

  template <class Acc>
  void load(const Kernels<Acc>& k, const MatrixView& x, std::int64_t first, std::int64_t most,
            const ColumnTile& tile, Acc* panel, std::int64_t stride) const {
    load_rows_of(k, x, first, most, tile, panel, stride);
  }
  template <class Acc>
  void sweep(const Kernels<Acc>& k, BlockTile<Acc> tile, std::int64_t row_block,
             std::int64_t column_block, std::int64_t panel_offset) const {
    tile.panel += panel_offset;
    k.packed_sweep({tile, a_.offsets(), a_.start(row_block, column_block), a_.has_zero_rows(),
                    picks_from_registers()});
  }

 private:
  const PackedStructure& a_;
  const void* values_;
  DType dtype_;
};

class PackedPlan final : public Plan {
 public:
  PackedPlan(const std::shared_ptr<const CsrStructure>& structure, const void* values, DType dtype,
             std::int64_t columns, int threads)
      : packed_(structure, columns, threads),
        dtype_(dtype),
        longest_row_(longest_row(packed_.row_starts())) {
    update(values, threads);
  }

  void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out, bool transposed,
           int threads) const override {
    const std::shared_ptr<const Values> values = values_.load();
    if (transposed) {
      const CsrValues in_order = csr_values(*values, threads);
      transposed_product(packed_.csr(threads)->view(in_order.get(), dtype_), x, epilogue, out,
                         threads);
      return;
    }
    const DType sums = accumulator_for(dtype_, x.dtype, longest_row_);
    if (const int width = combined_width(dtype_, x.dtype, sums); width != 0) {
      const std::shared_ptr<const Combined> both = combined(*values, width, threads);
      combined_product(*both->structure, both->values, x, epilogue, out, threads);
      return;
    }
    const PackedBlocks blocks(packed_, values->packed.data(), dtype_);
    with_accumulator(sums, [&]<class Acc>(Acc) {
      BlockProduct<Acc, PackedBlocks>(blocks, x, epilogue, out).run(threads);
    });
  }

  PutInPlace made_from(const void* values, int threads) const override {
    const auto fresh = std::make_shared<Values>(packed_.size() * item_size(dtype_));
    packed_.pack(values, item_size(dtype_), fresh->packed.data(), threads);
    return [this, fresh] { values_.store(fresh); };
  }

  void unpack(void* values, int threads) const override {
    packed_.unpack(values_.load()->packed.data(), item_size(dtype_), values, threads);
  }

  PlanShape shape() const override { return packed_.shape(); }
  std::shared_ptr<const CsrStructure> structure() const override { return packed_.csr(1); }
  DType dtype() const override { return dtype_; }
  std::int64_t nbytes() const override {
    const std::shared_ptr<const Combined> both = values_.load()->combined.load();
    return packed_.nbytes() + packed_.size() * item_size(dtype_) +
           (both ? both->structure->nbytes() + both->values.nbytes : 0);
  }
  bool keeps_structure() const override { return false; }
  std::string_view kernel() const override { return "packed_sweep"; }

 private:
  // The matrix once more, for an int8 X.
  struct Combined {
    std::shared_ptr<const CombinedStructure> structure;
    CombinedStructure::Values values;
  };
  struct Values {
    explicit Values(std::int64_t bytes) : packed(bytes) {}
    Pages<std::byte> packed;
    mutable std::atomic<std::shared_ptr<const Combined>> combined;
  };
  using CsrValues = std::unique_ptr<std::byte[]>;

  CsrValues csr_values(const Values& values, int threads) const {
    CsrValues result(
        new std::byte[static_cast<std::size_t>(packed_.shape().nnz * item_size(dtype_))]);
    packed_.unpack(values.packed.data(), item_size(dtype_), result.get(), threads);
    return result;
  }

  // Made by the first product that needs it: whoever has a floating X should not pay for it.
  std::shared_ptr<const Combined> combined(const Values& values, int width, int threads) const {
    if (std::shared_ptr<const Combined> made = values.combined.load()) return made;
    const std::shared_ptr<const CsrStructure> csr = packed_.csr(threads);
    std::shared_ptr<const CombinedStructure> structure = combined_.load();
    if (!structure) {
      structure = std::make_shared<const CombinedStructure>(*csr, width, threads);
      combined_.store(structure);
    }
    const CsrValues in_order = csr_values(values, threads);
    auto made = std::make_shared<const Combined>(Combined{
        structure,
        structure->pack(*csr, reinterpret_cast<const std::int8_t*>(in_order.get()), threads)});
    values.combined.store(made);
    return made;
  }

  PackedStructure packed_;
  DType dtype_;
  std::int64_t longest_row_;
  mutable std::atomic<std::shared_ptr<const Values>> values_;
  mutable std::atomic<std::shared_ptr<const CombinedStructure>> combined_;
};

}  // namespace

void packed_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, int threads) {
  const PackedStructure packed(a, x.cols, threads);
  const std::int64_t item = item_size(a.dtype);
  const Pages<std::byte> values(packed.size() * item);
  packed.pack(a.values, item, values.data(), threads);
  const PackedBlocks blocks(packed, values.data(), a.dtype);
  with_accumulator(accumulator_for(a.dtype, x.dtype, longest_row(a.offsets)), [&]<class Acc>(Acc) {
    BlockProduct<Acc, PackedBlocks>(blocks, x, epilogue, out).run(threads);
  });
}

std::unique_ptr<Plan> make_packed_plan(const std::shared_ptr<const CsrStructure>& structure,
                                       const void* values, DType dtype, std::int64_t columns,
                                       int threads) {
  return std::make_unique<PackedPlan>(structure, values, dtype, columns, threads);
}

}  // namespace sparsecore
