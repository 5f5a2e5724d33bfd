#include "products.h"

#include "ops.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

// A width that holds `largest`, not always the smallest.
int some_width(Index largest, Index number) {
  const int least = IndexArray::width_for(static_cast<std::uint64_t>(largest));
  const int picked = 1 << (number % 4);
  return picked < least ? least : picked;
}

}  // namespace

Multiplier::Multiplier(const Way& way, const Sparse& a, Index columns, Index shift, int threads)
    : is_transposed_(way.is_transposed),
      stored_(way.is_transposed ? a.transposed() : a),
      arrays_(stored_, some_width(stored_.nnz(), shift), some_width(stored_.cols, shift + 1),
              shift) {
  if (way.storage == Storage::kAsIs) return;
  const PlanOptions options{.columns = way.knows_columns ? columns : -1,
                            .backward = way.storage == Storage::kTwoWayPlan,
                            .kernel = way.kernel};
  plan_ = make_plan(stored_.structure(), arrays_.view().values, a.dtype, options, threads);
}

void Multiplier::run(const Dense& x, const EpilogueParts& epilogue, const Dense& y,
                     int threads) const {
  const Product product{x.view(), epilogue.view(), y.view(), is_transposed_, threads, "product"};
  if (plan_) {
    plan_matmul(*plan_, product);
  } else {
    csr_matmul(arrays_.view(), product);
  }
}

Layout layout_of(Index number) { return static_cast<Layout>(number % kLayouts); }
Index shift_of(Index number) { return number % 5; }

void check_every_way(const Sparse& a, const Mix& mix, Index n, Index number) {
  Rng rng(static_cast<unsigned>(number));
  // Factors with which sums of int8 numbers stay finite in fp16.
  const Array scale = random_array(rng, DType::kFloat32, a.rows, 1.0 / 64);
  EpilogueParts epilogue;
  if (mix.is_scaled) epilogue.scale = &scale;
  for (const Way& way : kWays) {
    ++number;
    INFO(way.name << ", " << a.rows << " x " << a.cols << " by " << n << ", "
                  << dtype_name(mix.values) << " by " << dtype_name(mix.x) << ", layouts "
                  << number % kLayouts << ", " << number / kLayouts % kLayouts << ", shift "
                  << shift_of(number));
    const Dense x = random_dense(rng, mix.x, a.cols, n, layout_of(number), shift_of(number));
    const Dense y(result_dtype(mix.values, mix.x), a.rows, n, layout_of(number / kLayouts),
                  shift_of(number + 1));
    Multiplier(way, a, n, shift_of(number + 2)).run(x, epilogue, y);
    CHECK_EQ(product_mismatch(a, x, epilogue, y), "");
  }
}

}  // namespace sparsecore::testing
