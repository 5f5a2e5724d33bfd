// csrc/plans/sparse24.h: Y = A X for a 2:4 matrix, by CPU target, dtype of the values and width of
// X (fp32): the narrow product (csrc/cpu/sparse24_narrow.h), the wide one (sparse24_wide.h), and
// the row sweep that they replace.
//
// Rate: 2 * nnz * N / t, the useful operations. Baseline: dense_naive, Y = W X by a plain loop
// (dense_loops.h), 2 * M * K * N / t.
#include <memory>
#include <string>
#include <utility>

#include "dense_convert.h"
#include "dense_loops.h"
#include "plans/row_sweep.h"
#include "plans/sparse24.h"
#include "products.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kWidths[] = {1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 512};

struct Problem {
  Dense w, x, y;
  std::shared_ptr<const Sparse24Structure> structure;
  AlignedVector<float> values;
  AlignedVector<BFloat16> narrow;  // the same values, which bfloat16 holds exactly
  Reference expected;

  Sparse24View view(DType dtype) const {
    const void* const items =
        dtype == DType::kBFloat16 ? static_cast<const void*>(narrow.data()) : values.data();
    return structure->view(items, dtype);
  }
};

Problem make_problem(const std::int64_t& n) {
  Dense w = random_dense(kSize, kSize, 1);
  for (float& value : w.values) value = to_float(to_bfloat16(value));
  std::vector<std::uint8_t> mask(w.values.size());
  prune_24(w.view(), mask.data(), 1);
  for (std::size_t i = 0; i < mask.size(); ++i) w.values[i] = mask[i] ? w.values[i] : 0.0f;
  AlignedVector<float> values(w.values.size() / 2);
  auto structure = compress_24(w.view(), false, values.data(), 1);
  AlignedVector<BFloat16> narrow(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) narrow[i] = to_bfloat16(values[i]);
  Dense x = random_dense(kSize, n, 2);
  Reference expected = product(w, x);
  return {std::move(w),      std::move(x),      Dense(kSize, n),    std::move(structure),
          std::move(values), std::move(narrow), std::move(expected)};
}

template <class Call>
void run(benchmark::State& state, Problem& p, DType dtype, Call call) {
  const Sparse24View a = p.view(dtype);
  measure(state, p.expected, p.y.values, a.nnz(), p.x.cols, "2*nnz*N/t",
          [&] { call(a, p.x.view(), Epilogue{}, p.y.view(), 1); });
}

using Sweep = void (*)(const Sparse24View&, const MatrixView&, const Epilogue&, const MatrixView&,
                       int);

void run_dense(benchmark::State& state, Problem& p) {
  measure(state, p.expected, p.y.values, p.w.size(), p.x.cols, "2*M*K*N/t, naive dense loop",
          [&] { dense_product(p.w, p.x, p.y); });
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_problem);
  for (const std::int64_t n : kWidths) {
    const std::string width = "/N:" + std::to_string(n);
    cases.add("dense_naive" + width, n, run_dense);
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      const std::string tail = std::string("/") + dtype_name(dtype) + width;
      cases.add_each_target("sparse24", tail, n, [=](auto& state, Problem& p) {
        run(state, p, dtype, sparse24_product);
      });
      cases.add_each_target("row_sweep", tail, n, [=](auto& state, Problem& p) {
        run(state, p, dtype, static_cast<Sweep>(row_sweep));
      });
    }
  }
}

}  // namespace sparsecore::bench
