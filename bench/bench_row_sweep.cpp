// csrc/cpu/row_sweep.h: Y = A X for CSR and for 2:4, by CPU target, width of X and sparsity.
//
// Rate: 2 * nnz * N / t, the useful operations. Baseline: dense_naive, Y = W X by a plain loop
// (dense_loops.h), 2 * M * K * N / t.
#include <memory>
#include <string>
#include <utility>

#include "dense_convert.h"
#include "dense_loops.h"
#include "dispatch.h"
#include "harness.h"
#include "plans/row_sweep.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kSize = 1024;
constexpr std::int64_t kWidths[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
constexpr int kPercents[] = {50, 70, 80, 90, 95, 98};
constexpr int kDense = 0, kTwoOfFour = -1;  // in the place of a percentage

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

struct Compressed {
  Sparse24Structure structure;
  AlignedVector<float> values;
};

void prune(Dense& w) {
  std::vector<std::uint8_t> mask(w.values.size());
  prune_24(w.view(), mask.data(), 1);
  for (std::size_t i = 0; i < mask.size(); ++i) w.values[i] = mask[i] ? w.values[i] : 0.0f;
}

Compressed compress(const Dense& w) {
  std::vector<std::uint8_t> metadata(static_cast<std::size_t>(w.size() / 8));
  AlignedVector<float> values(w.values.size() / 2);
  compress_24(w.view(), values.data(), metadata.data(), 1);
  return {Sparse24Structure(w.rows, w.cols, metadata), std::move(values)};
}

Problem make_problem(const Key& key) {
  Sparse a = random_sparse(kSize, kSize, key.percent == kTwoOfFour ? 0 : key.percent, 1);
  if (key.percent == kTwoOfFour) prune(a.dense);
  Dense x = random_dense(kSize, key.n, 2);
  Reference expected = product(a.dense, x);
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
  run(state, p, a.nnz(), "2*nnz*N/t", [&] { row_sweep(a, p.x.view(), Epilogue{}, p.y.view(), 1); });
}

void run_24(benchmark::State& state, Problem& p, const std::string& target) {
  set_target(target);
  const Compressed compressed = compress(p.a.dense);
  const Sparse24View a = compressed.structure.view(compressed.values.data(), DType::kFloat32);
  run(state, p, a.nnz(), "2*nnz*N/t", [&] { row_sweep(a, p.x.view(), Epilogue{}, p.y.view(), 1); });
}

void run_dense(benchmark::State& state, Problem& p) {
  run(state, p, p.a.dense.size(), "2*M*K*N/t, naive dense loop",
      [&] { dense_product(p.a.dense, p.x, p.y); });
}

}  // namespace

void register_benchmarks() {
  const auto kept = std::make_shared<Kept<Key, Problem>>();
  const auto add_case = [&](const std::string& name, int percent, std::int64_t n, auto body) {
    add(name + "/N:" + std::to_string(n), kept, Key{percent, n}, make_problem, body);
  };
  for (const std::int64_t n : kWidths) {
    add_case("dense_naive", kDense, n, run_dense);
    for (const int percent : kPercents) {
      for (const std::string& target : supported_targets()) {
        add_case("csr/" + target + "/sparsity:" + std::to_string(percent), percent, n,
                 [=](auto& state, Problem& p) { run_csr(state, p, target); });
      }
    }
    for (const std::string& target : supported_targets()) {
      add_case("sparse24/" + target, kTwoOfFour, n,
               [=](auto& state, Problem& p) { run_24(state, p, target); });
    }
  }
}

}  // namespace sparsecore::bench
