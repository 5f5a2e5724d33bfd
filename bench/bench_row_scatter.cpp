// csrc/cpu/row_scatter.h: Y = A^T X without transposing A, by CPU target, width of X and sparsity.
//
// Rate: 2 * nnz * N / t. Baseline: dense_naive, Y = W^T X by a plain loop (dense_loops.h),
// 2 * M * K * N / t.
#include <memory>
#include <string>
#include <utility>

#include "dense_loops.h"
#include "dispatch.h"
#include "harness.h"
#include "plans/row_scatter.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kSize = 1024;
constexpr std::int64_t kWidths[] = {1, 8, 32, 128, 512};
constexpr int kPercents[] = {50, 80, 90, 95};

struct Key {
  int percent;
  std::int64_t n;
  bool operator==(const Key&) const = default;
};

struct Problem {
  Sparse a;
  Dense x, y;
  Reference expected;
};

Problem make_problem(const Key& key) {
  Sparse a = random_sparse(kSize, kSize, key.percent, 1);
  Dense x = random_dense(kSize, key.n, 2);
  Reference expected = product(transposed(a.dense), x);
  return {std::move(a), std::move(x), Dense(kSize, key.n), std::move(expected)};
}

template <class Call>
void run(benchmark::State& state, Problem& p, std::int64_t entries, const char* formula,
         Call call) {
  const auto mismatch = [&] { return p.expected.mismatch(p.y.values.data()); };
  if (!check_and_measure(state, mismatch, call)) return;
  count_flop(state, 2.0 * static_cast<double>(entries) * static_cast<double>(p.x.cols));
  state.SetLabel(formula);
}

void run_csr(benchmark::State& state, Problem& p, const std::string& target) {
  set_target(target);
  const CsrView a = p.a.view();
  run(state, p, a.nnz(), "2*nnz*N/t",
      [&] { row_scatter(a, p.x.view(), Epilogue{}, p.y.view(), 1); });
}

void run_dense(benchmark::State& state, Problem& p) {
  run(state, p, p.a.dense.size(), "2*M*K*N/t, naive dense loop",
      [&] { dense_transposed_product(p.a.dense, p.x, p.y); });
}

}  // namespace

void register_benchmarks() {
  const auto kept = std::make_shared<Kept<Key, Problem>>();
  const auto add_case = [&](const std::string& name, int percent, std::int64_t n, auto body) {
    add(name + "/N:" + std::to_string(n), kept, Key{percent, n}, make_problem, body);
  };
  for (const std::int64_t n : kWidths) {
    add_case("dense_naive", 0, n, run_dense);
    for (const int percent : kPercents) {
      for (const std::string& target : supported_targets()) {
        add_case("csr/" + target + "/sparsity:" + std::to_string(percent), percent, n,
                 [=](auto& state, Problem& p) { run_csr(state, p, target); });
      }
    }
  }
}

}  // namespace sparsecore::bench
