#include <atomic>
#include <cstring>
#include <utility>

#include "../plan.h"
#include "row_sweep.h"
#include "stateless.h"

namespace sparsecore {
namespace {

// A matrix in CSR's own order, with a snapshot of the values.
class CsrPlan final : public Plan {
 public:
  CsrPlan(std::shared_ptr<const CsrStructure> structure, const void* values, DType dtype,
          int threads)
      : structure_(std::move(structure)), dtype_(dtype) {
    update(values, threads);
  }

  void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out, bool transposed,
           int threads) const override {
    const Values values = values_.load();
    const CsrView view = structure_->view(values.get(), dtype_);
    if (transposed) {
      transposed_product(view, x, epilogue, out, threads);
    } else {
      row_sweep(view, x, epilogue, out, threads);
    }
  }

  PutInPlace made_from(const void* values, int) const override {
    const std::size_t size = bytes();
    const std::shared_ptr<std::byte[]> copy(new std::byte[size]);
    if (size > 0) std::memcpy(copy.get(), values, size);
    return [this, copy] { values_.store(copy); };
  }

  void unpack(void* values, int) const override {
    if (bytes() > 0) std::memcpy(values, values_.load().get(), bytes());
  }

  PlanShape shape() const override { return shape_of(*structure_); }
  std::shared_ptr<const CsrStructure> structure() const override { return structure_; }
  DType dtype() const override { return dtype_; }
  std::int64_t nbytes() const override { return static_cast<std::int64_t>(bytes()); }
  std::string_view kernel() const override { return "row_sweep"; }

 private:
  using Values = std::shared_ptr<const std::byte[]>;

  std::size_t bytes() const {
    return static_cast<std::size_t>(structure_->nnz() * item_size(dtype_));
  }

  std::shared_ptr<const CsrStructure> structure_;
  DType dtype_;
  mutable std::atomic<Values> values_;
};

}  // namespace

std::unique_ptr<Plan> make_csr_plan(std::shared_ptr<const CsrStructure> structure,
                                    const void* values, DType dtype, int threads) {
  return std::make_unique<CsrPlan>(std::move(structure), values, dtype, threads);
}

}  // namespace sparsecore
