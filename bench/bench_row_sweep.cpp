// csrc/cpu/row_sweep.h: Y = A X for CSR, by CPU target, width of X and sparsity.
//
// Rate: 2 * nnz * N / t, the useful operations. Baseline: dense_naive, Y = W X by a plain loop
// (dense_loops.h), 2 * M * K * N / t.
#include <string>
#include <utility>

#include "dense_loops.h"
#include "plans/row_sweep.h"
#include "products.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kWidths[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
constexpr int kPercents[] = {50, 70, 80, 90, 95, 98};

Product make_problem(const Key& key) {
  Sparse a = random_sparse(kSize, kSize, key.percent, 1);
  Dense x = random_dense(kSize, key.n, 2);
  Reference expected = product(a.dense, x);
  return {std::move(a), std::move(x), Dense(kSize, key.n), std::move(expected)};
}

void run_csr(benchmark::State& state, Product& p) {
  const CsrView a = p.a.view();
  measure(state, p.expected, p.y.values, a.nnz(), p.x.cols, "2*nnz*N/t",
          [&] { row_sweep(a, p.x.view(), Epilogue{}, p.y.view(), 1); });
}

void run_dense(benchmark::State& state, Product& p) {
  measure(state, p.expected, p.y.values, p.a.dense.size(), p.x.cols, "2*M*K*N/t, naive dense loop",
          [&] { dense_product(p.a.dense, p.x, p.y); });
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
