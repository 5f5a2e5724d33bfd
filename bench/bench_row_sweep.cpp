// csrc/cpu/row_sweep.h: Y = A X for CSR and for 2:4, by CPU target, width of X and sparsity.
//
// Rate: 2 * nnz * N / t, the useful operations. Baseline: dense_naive, Y = W X by a plain loop
// (dense_loops.h), 2 * M * K * N / t.
#include <string>
#include <utility>

#include "dense_convert.h"
#include "dense_loops.h"
#include "plans/row_sweep.h"
#include "products.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kWidths[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
constexpr int kPercents[] = {50, 70, 80, 90, 95, 98};
constexpr int kTwoOfFour = -1;  // in the place of a percentage

struct Compressed {
  std::shared_ptr<const Sparse24Structure> structure;
  AlignedVector<float> values;
};

void prune(Dense& w) {
  std::vector<std::uint8_t> mask(w.values.size());
  prune_24(w.view(), mask.data(), 1);
  for (std::size_t i = 0; i < mask.size(); ++i) w.values[i] = mask[i] ? w.values[i] : 0.0f;
}

Compressed compress(const Dense& w) {
  AlignedVector<float> values(w.values.size() / 2);
  auto structure = compress_24(w.view(), false, values.data(), 1);
  return {std::move(structure), std::move(values)};
}

Product make_problem(const Key& key) {
  Sparse a = random_sparse(kSize, kSize, key.percent == kTwoOfFour ? 0 : key.percent, 1);
  if (key.percent == kTwoOfFour) prune(a.dense);
  Dense x = random_dense(kSize, key.n, 2);
  Reference expected = product(a.dense, x);
  return {std::move(a), std::move(x), Dense(kSize, key.n), std::move(expected)};
}

template <class View>
void run_sweep(benchmark::State& state, Product& p, const View& a) {
  measure(state, p.expected, p.y.values, a.nnz(), p.x.cols, "2*nnz*N/t",
          [&] { row_sweep(a, p.x.view(), Epilogue{}, p.y.view(), 1); });
}

void run_csr(benchmark::State& state, Product& p) { run_sweep(state, p, p.a.view()); }

void run_24(benchmark::State& state, Product& p) {
  const Compressed a = compress(p.a.dense);
  run_sweep(state, p, a.structure->view(a.values.data(), DType::kFloat32));
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
    cases.add_each_target("sparse24", width, {kTwoOfFour, n}, run_24);
  }
}

}  // namespace sparsecore::bench
