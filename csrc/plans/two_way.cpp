// A plan that runs transposed products by a second plan, of the transpose.
#include <mutex>
#include <utility>

#include "../plan.h"
#include "../transpose.h"

namespace sparsecore {
namespace {

class TwoWayPlan final : public Plan {
 public:
  TwoWayPlan(std::unique_ptr<Plan> forward, std::unique_ptr<Plan> backward)
      : forward_(std::move(forward)), backward_(std::move(backward)) {}

  void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out, bool transposed,
           int threads) const override {
    (transposed ? backward_ : forward_)->run(x, epilogue, out, false, threads);
  }
  // Transposes again, for the order of the values: to keep it would cost eight bytes an entry.
  PutInPlace made_from(const void* values, int threads) const override {
    const TransposedCsr other = transpose(structure()->view(values, dtype()), threads);
    const PutInPlace forward = forward_->made_from(values, threads);
    const PutInPlace backward = backward_->made_from(other.values.data(), threads);
    return [this, forward, backward] {
      const std::scoped_lock both(putting_in_place_);
      forward();
      backward();
    };
  }
  void unpack(void* values, int threads) const override { forward_->unpack(values, threads); }

  PlanShape shape() const override { return forward_->shape(); }
  std::shared_ptr<const CsrStructure> structure() const override { return forward_->structure(); }
  DType dtype() const override { return forward_->dtype(); }
  std::int64_t nbytes() const override {
    const bool keeps = backward_->keeps_structure();
    return forward_->nbytes() + backward_->nbytes() +
           (keeps ? backward_->structure()->nbytes() : 0);
  }
  bool keeps_structure() const override { return forward_->keeps_structure(); }
  std::string_view kernel() const override { return forward_->kernel(); }

 private:
  std::unique_ptr<Plan> forward_, backward_;
  mutable std::mutex putting_in_place_;
};

}  // namespace

std::unique_ptr<Plan> make_two_way_plan(std::unique_ptr<Plan> forward,
                                        std::unique_ptr<Plan> backward) {
  return std::make_unique<TwoWayPlan>(std::move(forward), std::move(backward));
}

}  // namespace sparsecore
