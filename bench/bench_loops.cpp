// The order of loops against the order of memory, on dense data: the reason for row-first kernels.
//
// sum: a row-major matrix row by row and column by column. Both run the same instructions, only the
// addresses come in another order; row_first_vectorised is what contiguity permits besides.
// gemv: y = A x as a dot product a row, or as one column after another added to y.
// Everything is dense; row_first is the baseline. Rates: 4 * n^2 bytes / t, gemv also 2 * n^2 / t.
#include <string>
#include <utility>

#include "dense_loops.h"
#include "harness.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kSizes[] = {128, 1024, 4096};  // 64 KB, 4 MB, 64 MB

enum class Order { kRowFirst, kColumnFirst };

// One line of a matrix, a row (stride 1) or a column (stride n), in eight sums, so that the reads
// and not the latency of additions count. Not inlined: a compiler that saw both loops of a matrix
// could exchange them.
[[gnu::noinline]] float sum_line(const float* line, std::int64_t stride, std::int64_t n) {
  float sums[8] = {};
  for (std::int64_t i = 0; i + 8 <= n; i += 8) {
    for (std::int64_t s = 0; s < 8; ++s) sums[s] += line[(i + s) * stride];
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

[[gnu::noinline]] float sum_row_vectorised(const float* row, std::int64_t n) {
  float sums[kSums] = {};
  for (std::int64_t i = 0; i + kSums <= n; i += kSums) {
    for (std::int64_t s = 0; s < kSums; ++s) sums[s] += row[i + s];
  }
  return sum_of(sums);
}

struct Square {
  Dense a, x, y;
  Reference sum, product;
};

// The bound for a sum of n^2 values: line by line in fp32, the lines in double.
Reference sum_of_values(const Dense& a) {
  double sum = 0, magnitude = 0;
  for (const float v : a.values) {
    sum += double{v};
    magnitude += std::fabs(double{v});
  }
  return {{sum}, {fp32_bound(a.cols, magnitude)}};
}

Square make_square(const std::int64_t& n) {
  Dense a = random_dense(n, n, 1), x = random_dense(n, 1, 2);
  Reference sum = sum_of_values(a), expected = product(a, x);
  return {std::move(a), std::move(x), Dense(n, 1), std::move(sum), std::move(expected)};
}

// The sum of all lines; line(i) is the sum of one.
template <class Line>
void measure_sum(benchmark::State& state, Square& p, Line line) {
  float& result = *p.y.row(0);
  const auto call = [&] {
    double sum = 0;
    for (std::int64_t i = 0; i < p.a.cols; ++i) sum += double{line(i)};
    result = static_cast<float>(sum);
  };
  if (!check_and_measure(state, [&] { return p.sum.mismatch(&result); }, call)) return;
  count_bytes(state, 4.0 * static_cast<double>(p.a.size()));
  state.SetLabel("4*n^2/t");
}

void run_sum(benchmark::State& state, Square& p, Order order) {
  const std::int64_t n = p.a.cols;
  // Volatile, or the compiler makes a second sum_line for stride 1.
  const volatile std::int64_t between_lines = order == Order::kRowFirst ? n : 1;
  const volatile std::int64_t within_line = order == Order::kRowFirst ? 1 : n;
  const std::int64_t step = between_lines, stride = within_line;
  measure_sum(state, p,
              [=, &p](std::int64_t i) { return sum_line(p.a.row(0) + i * step, stride, n); });
}

void run_sum_vectorised(benchmark::State& state, Square& p) {
  measure_sum(state, p, [&](std::int64_t i) { return sum_row_vectorised(p.a.row(i), p.a.cols); });
}

void gemv(Square& p, Order order) {
  const std::int64_t n = p.a.cols;
  const float* x = p.x.values.data();
  float* y = p.y.values.data();
  if (order == Order::kColumnFirst) {
    std::fill(p.y.values.begin(), p.y.values.end(), 0.0f);
    for (std::int64_t j = 0; j < n; ++j) add_line(x[j], p.a.row(0) + j, n, y, 1, n);
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) y[i] = contiguous_dot(p.a.row(i), x, n);
}

void run_gemv(benchmark::State& state, Square& p, Order order) {
  const auto mismatch = [&] { return p.product.mismatch(p.y.values.data()); };
  if (!check_and_measure(state, mismatch, [&] { gemv(p, order); })) return;
  count_bytes(state, 4.0 * static_cast<double>(p.a.size()));
  count_flop(state, 2.0 * static_cast<double>(p.a.size()));
  state.SetLabel("4*n^2/t and 2*n^2/t");
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_square);
  for (const std::int64_t n : kSizes) {
    const auto add_case = [&](const char* name, auto body) {
      cases.add(name + ("/n:" + std::to_string(n)), n, body);
    };
    add_case("sum/row_first", [](auto& s, Square& p) { run_sum(s, p, Order::kRowFirst); });
    add_case("sum/column_first", [](auto& s, Square& p) { run_sum(s, p, Order::kColumnFirst); });
    add_case("sum/row_first_vectorised", run_sum_vectorised);
    add_case("gemv/row_first", [](auto& s, Square& p) { run_gemv(s, p, Order::kRowFirst); });
    add_case("gemv/column_first", [](auto& s, Square& p) { run_gemv(s, p, Order::kColumnFirst); });
  }
}

}  // namespace sparsecore::bench
