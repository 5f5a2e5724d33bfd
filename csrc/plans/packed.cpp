#include "../packed.h"

#include <atomic>
#include <utility>
#include <vector>

#include "../choose.h"
#include "../plan.h"
#include "block_product.h"
#include "stateless.h"

namespace sparsecore {
namespace {

class PackedBlocks {
 public:
  PackedBlocks(const PackedStructure& a, const void* values, DType dtype)
      : a_(a), values_(values), dtype_(dtype) {
    for (std::int64_t b = 0; b <= a.rows().row_blocks(); ++b) starts_.push_back(a.start(b, 0));
  }
  const BlockedRows& rows() const { return a_.rows(); }
  bool has_zero_rows() const { return a_.has_zero_rows(); }
  const std::vector<std::int64_t>& starts() const { return starts_; }
  const void* values() const { return values_; }
  DType dtype() const { return dtype_; }

  template <class Acc>
  void sweep(const Kernels<Acc>& k, BlockTile<Acc> tile, std::int64_t row_block,
             std::int64_t column_block, std::int64_t panel_offset) const {
    tile.panel += panel_offset;
    k.packed_sweep({tile, a_.offsets(), a_.start(row_block, column_block), a_.has_zero_rows()});
  }

 private:
  const PackedStructure& a_;
  const void* values_;
  DType dtype_;
  std::vector<std::int64_t> starts_;
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
    const Values values = values_.load();
    if (transposed) {
      const std::unique_ptr<std::byte[]> csr_values(new std::byte[csr_bytes()]);
      packed_.unpack(values->data(), item_size(dtype_), csr_values.get(), threads);
      transposed_product(packed_.csr(threads)->view(csr_values.get(), dtype_), x, epilogue, out,
                         threads);
      return;
    }
    const PackedBlocks blocks(packed_, values->data(), dtype_);
    with_accumulator(accumulator_for(dtype_, x.dtype, longest_row_), [&]<class Acc>(Acc) {
      BlockProduct<Acc, PackedBlocks>(blocks, x, epilogue, out).run(threads);
    });
  }

  PutInPlace made_from(const void* values, int threads) const override {
    const auto fresh = std::make_shared<Pages<std::byte>>(packed_.size() * item_size(dtype_));
    packed_.pack(values, item_size(dtype_), fresh->data(), threads);
    return [this, fresh] { values_.store(fresh); };
  }

  void unpack(void* values, int threads) const override {
    packed_.unpack(values_.load()->data(), item_size(dtype_), values, threads);
  }

  PlanShape shape() const override { return packed_.shape(); }
  std::shared_ptr<const CsrStructure> structure() const override { return packed_.csr(1); }
  DType dtype() const override { return dtype_; }
  std::int64_t nbytes() const override {
    return packed_.nbytes() + packed_.size() * item_size(dtype_);
  }
  bool keeps_structure() const override { return false; }
  std::string_view kernel() const override { return "packed_sweep"; }

 private:
  using Values = std::shared_ptr<const Pages<std::byte>>;

  std::size_t csr_bytes() const {
    return static_cast<std::size_t>(packed_.shape().nnz * item_size(dtype_));
  }

  PackedStructure packed_;
  DType dtype_;
  std::int64_t longest_row_;
  mutable std::atomic<Values> values_;
};

}  // namespace

std::unique_ptr<Plan> make_packed_plan(const std::shared_ptr<const CsrStructure>& structure,
                                       const void* values, DType dtype, std::int64_t columns,
                                       int threads) {
  return std::make_unique<PackedPlan>(structure, values, dtype, columns, threads);
}

}  // namespace sparsecore
