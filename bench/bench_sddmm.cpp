// csrc/cpu/sddmm.h: d = (U V^T) at the entries of A, by CPU target, width of U and V, and sparsity.
//
// Rate: 2 * nnz * N / t. Baseline: dense_naive, the whole of U V^T by a plain loop (dense_loops.h),
// 2 * M * K * N / t.
#include <memory>
#include <string>
#include <utility>

#include "dense_loops.h"
#include "dispatch.h"
#include "harness.h"
#include "plans/sddmm.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kSize = 1024;
constexpr std::int64_t kWidths[] = {8, 32, 128, 512};
constexpr int kPercents[] = {50, 80, 90, 95};

struct Key {
  int percent;
  std::int64_t n;
  bool operator==(const Key&) const = default;
};

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

template <class Call>
void run(benchmark::State& state, const Problem& p, const AlignedVector<float>& result,
         const char* formula, Call call) {
  const auto mismatch = [&] { return p.expected.mismatch(result.data()); };
  if (!check_and_measure(state, mismatch, call)) return;
  count_flop(state, 2.0 * static_cast<double>(result.size()) * static_cast<double>(p.u.cols));
  state.SetLabel(formula);
}

void run_csr(benchmark::State& state, Problem& p, const std::string& target) {
  set_target(target);
  const CsrView a = p.a.view();
  run(state, p, p.d, "2*nnz*N/t",
      [&] { sampled_product(a, p.u.view(), p.v.view(), p.d.data(), DType::kFloat32, 1); });
}

// The pattern of a matrix without zeros is every place, row by row: the dense product.
void run_dense(benchmark::State& state, Problem& p) {
  Dense d(kSize, kSize);
  run(state, p, d.values, "2*M*K*N/t, naive dense loop",
      [&] { dense_product(p.u, transposed(p.v), d); });
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
