// csrc/plan.h: Y = A X by each plan kernel, by CPU target, width of X and sparsity; and what it
// costs to make a plan and to give it new values.
//
// Rates: of products 2 * nnz * N / t, the useful operations; of plans entries a second, nnz / t.
// Baseline: dense_naive, Y = W X by a plain loop (dense_loops.h), 2 * M * K * N / t.
#include <string>

#include "dense_loops.h"
#include "plan.h"
#include "products.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kWidths[] = {1, 4, 8, 16, 32, 64, 128, 512};
constexpr int kPercents[] = {50, 70, 80, 90, 95, 98};
constexpr const char* kKernels[] = {"row_sweep", "packed_sweep", "block_permute"};

Product make_problem(const Key& key) {
  Sparse a = random_sparse(kSize, kSize, key.percent, 1);
  Dense x = random_dense(kSize, key.n, 2);
  Reference expected = product(a.dense, x);
  return {std::move(a), std::move(x), Dense(kSize, key.n), std::move(expected)};
}

std::unique_ptr<Plan> plan_of(const Sparse& a, const char* kernel) {
  const PlanOptions options{.columns = -1, .backward = false, .kernel = kernel};
  return make_plan(a.structure, a.values.data(), DType::kFloat32, options, 1);
}

void run_product(benchmark::State& state, Product& p, const char* kernel) {
  const std::unique_ptr<Plan> plan = plan_of(p.a, kernel);
  measure(state, p.expected, p.y.values, p.a.structure->nnz(), p.x.cols, "2*nnz*N/t",
          [&] { plan->run(p.x.view(), Epilogue{}, p.y.view(), false, 1); });
}

void run_dense(benchmark::State& state, Product& p) {
  measure(state, p.expected, p.y.values, p.a.dense.size(), p.x.cols, "2*M*K*N/t, naive dense loop",
          [&] { dense_product(p.a.dense, p.x, p.y); });
}

// Values that go in must come out.
template <class Call>
void measure_plan(benchmark::State& state, const Sparse& a, std::unique_ptr<Plan>& plan,
                  Call call) {
  const auto mismatch = [&] {
    AlignedVector<float> values(a.values.size());
    plan->unpack(values.data(), 1);
    return values == a.values ? std::string{} : "other values came out than went in";
  };
  if (!check_and_measure(state, mismatch, call)) return;
  const auto entries = static_cast<double>(a.structure->nnz());
  state.counters["entries"] = benchmark::Counter(
      entries, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
  state.SetLabel("nnz/t");
}

void run_make(benchmark::State& state, Product& p, const char* kernel) {
  std::unique_ptr<Plan> plan;
  measure_plan(state, p.a, plan, [&] { plan = plan_of(p.a, kernel); });
}

void run_update(benchmark::State& state, Product& p, const char* kernel) {
  std::unique_ptr<Plan> plan = plan_of(p.a, kernel);
  measure_plan(state, p.a, plan, [&] { plan->update(p.a.values.data(), 1); });
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_problem);
  for (const int percent : kPercents) {
    const std::string sparsity = "/sparsity:" + std::to_string(percent);
    for (const char* kernel : kKernels) {
      const Key key{percent, 1};
      cases.add("make/" + std::string(kernel) + sparsity, key,
                [=](auto& state, Product& p) { run_make(state, p, kernel); });
      cases.add("update/" + std::string(kernel) + sparsity, key,
                [=](auto& state, Product& p) { run_update(state, p, kernel); });
    }
    for (const std::int64_t n : kWidths) {
      const std::string tail = sparsity + "/N:" + std::to_string(n);
      cases.add("dense_naive" + tail, {percent, n}, run_dense);
      for (const char* kernel : kKernels) {
        cases.add_each_target(kernel, tail, {percent, n},
                              [=](auto& state, Product& p) { run_product(state, p, kernel); });
      }
    }
  }
}

}  // namespace sparsecore::bench
