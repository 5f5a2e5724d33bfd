// What the benchmarks of products of a sparse matrix share: their cases, and how a result is
// checked and its rate counted.
#pragma once

#include <cstdint>

#include "harness.h"
#include "problems.h"

namespace sparsecore::bench {

constexpr std::int64_t kSize = 1024;  // rows and columns of the sparse matrix

struct Key {
  int percent;     // of the sparse matrix's entries are zeros
  std::int64_t n;  // columns of the dense operands
  bool operator==(const Key&) const = default;
};

// y = a x or a^T x
struct Product {
  Sparse a;
  Dense x, y;
  Reference expected;
};

// Measures call(), which leaves its result in `got`. Its rate is that of 2 * entries * n
// operations, which `formula` says in words.
template <class Call>
void measure(benchmark::State& state, const Reference& expected, const AlignedVector<float>& got,
             std::int64_t entries, std::int64_t n, const char* formula, Call call) {
  const auto mismatch = [&] { return expected.mismatch(got.data()); };
  if (!check_and_measure(state, mismatch, call)) return;
  count_flop(state, 2.0 * static_cast<double>(entries) * static_cast<double>(n));
  state.SetLabel(formula);
}

}  // namespace sparsecore::bench
