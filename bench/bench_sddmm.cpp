// csrc/cpu/sddmm.h: d = (U V^T) at the entries of A, by CPU target, width of U and V, and sparsity.
//
// Rate: 2 * nnz * N / t. Baseline: dense_naive, the whole of U V^T by a plain loop (dense_loops.h),
// 2 * M * K * N / t.
#include <string>
#include <utility>

#include "dense_loops.h"
#include "plans/sddmm.h"
#include "products.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kWidths[] = {8, 32, 128, 512};
constexpr int kPercents[] = {50, 80, 90, 95};

struct Problem {
  Sparse a;
  Dense u, v;
  AlignedVector<float> d;
  Reference expected;
};

Problem make_problem(const Key& key) {
  Sparse a = random_sparse(kSize, kSize, key.percent, 1);
  Dense u = random_dense(kSize, key.n, 2), v = random_dense(kSize, key.n, 3);
  AlignedVector<float> d(a.values.size());
  Reference expected = sampled(a, u, v);
  return {std::move(a), std::move(u), std::move(v), std::move(d), std::move(expected)};
}

void run_csr(benchmark::State& state, Problem& p) {
  const CsrView a = p.a.view();
  measure(state, p.expected, p.d, a.nnz(), p.u.cols, "2*nnz*N/t",
          [&] { sampled_product(a, p.u.view(), p.v.view(), p.d.data(), DType::kFloat32, 1); });
}

// The pattern of a matrix without zeros is every place, row by row: the dense product.
void run_dense(benchmark::State& state, Problem& p) {
  Dense d(kSize, kSize);
  measure(state, p.expected, d.values, d.size(), p.u.cols, "2*M*K*N/t, naive dense loop",
          [&] { dense_product(p.u, transposed(p.v), d); });
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_problem);
  for (const std::int64_t n : kWidths) {
    const std::string width = "/N:" + std::to_string(n);
    cases.add("dense_naive" + width, {0, n}, run_dense);
    for (const int percent : kPercents) {
      const std::string sparsity = "/sparsity:" + std::to_string(percent);
      cases.add_each_target("csr", sparsity + width, {percent, n}, run_csr);
    }
  }
}

}  // namespace sparsecore::bench
