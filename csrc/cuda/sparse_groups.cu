#include "found.h"
#include "sparse_groups.h"

namespace sparsecore::cuda {
namespace {

constexpr std::uint64_t kNone = ~std::uint64_t{0};

// Copies a matrix into rows without gaps, +0.0 for -0.0, and finds the first group with too many
// nonzeros. (cuSPARSELt takes -0.0 for a number, which may then push another out, and says nothing
// of a third one.)
//
// A thread a group; cols is a multiple of kSize. Reads and writes each item once: 2 b bytes for one
// of b bytes, without arithmetic to speak of. Neighbouring threads have neighbouring groups, so
// that both go in whole sectors where rows are contiguous.
template <class Bits, int kSize>
__global__ void __launch_bounds__(kItemThreads)
    copy_groups(StridedItems m, Bits negative_zero, Bits* out, std::uint64_t* first_bad) {
  const std::int64_t group = item_of_thread(), per_row = m.cols / kSize;
  if (group >= m.rows * per_row) return;
  const std::int64_t row = group / per_row, column = group % per_row * kSize;
  const Bits* const from =
      static_cast<const Bits*>(m.data) + row * m.row_stride + column * m.col_stride;
  int nonzeros = 0;
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    const Bits item = from[i * m.col_stride];
    const bool is_zero = item == 0 || item == negative_zero;
    nonzeros += is_zero ? 0 : 1;
    out[group * kSize + i] = is_zero ? Bits{0} : item;
  }
  if (nonzeros > kSize / 2) {
    atomicMin(reinterpret_cast<unsigned long long*>(first_bad),
              static_cast<unsigned long long>(group));
  }
}

template <class Bits, int kSize>
void start(const StridedItems& m, bool has_negative_zero, void* out, std::uint64_t* first_bad,
           Stream stream) {
  // int8 has none: its sign bit alone is -128. Zero itself then stands for it.
  const Bits sign =
      has_negative_zero ? static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1)) : Bits{0};
  launch("copying groups", copy_groups<Bits, kSize>, grid_of(m.rows * (m.cols / kSize)), stream, m,
         sign, static_cast<Bits*>(out), first_bad);
}

}  // namespace

DenseGroups checked_groups(const StridedItems& m, const SparseGroups& groups, Memory& memory,
                           Stream stream) {
  void* const out = memory.take(m.rows * m.cols * groups.item_bytes);
  auto* const first_bad = memory.take_items<std::uint64_t>(1);
  check(cudaMemsetAsync(first_bad, 0xff, sizeof(kNone), stream), "clearing a word");
  with_bits(groups.item_bytes, [&](auto bits) {
    using Bits = decltype(bits);
    const auto run = groups.size == 2 ? start<Bits, 2> : start<Bits, 4>;
    run(m, groups.has_negative_zero, out, first_bad, stream);
  });
  const std::uint64_t first = read_back(first_bad, stream);
  return {out, first == kNone ? -1 : static_cast<std::int64_t>(first)};
}

}  // namespace sparsecore::cuda
