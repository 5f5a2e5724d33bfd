// Sampled products.
#include "ops.h"
#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

void check_sampled(const Sparse& a, DType dtype, Index n, Index number) {
  INFO(a.rows << " x " << a.cols << ", n=" << n << ", " << dtype_name(dtype) << ", number "
              << number);
  Rng rng(static_cast<unsigned>(number));
  const Dense u = random_dense(rng, dtype, a.rows, n, layout_of(number), shift_of(number));
  const Dense v =
      random_dense(rng, dtype, a.cols, n, layout_of(number / kLayouts), shift_of(number + 1));
  const Array d(sddmm_dtype(dtype, dtype), a.nnz(), shift_of(number + 2));
  const CsrArrays arrays(a, 4, 4, shift_of(number + 3));
  csr_sddmm(arrays.view(), u.view(), v.view(), d.data(), 1);
  CHECK_EQ(sampled_mismatch(a, u, v, d), "");
}

TEST_CASE("sampled products") {
  for_each_target([] {
    for (const DType dtype : kDTypes) {
      const std::vector<Index> sizes = sizes_around(lanes_of(summed_in(dtype, dtype)));
      const Index count = std::ssize(sizes);
      for (Index i = 0; i < count; ++i) {
        Rng rng(static_cast<unsigned>(i));
        const Index rows = sizes[at((5 * i + 1) % count)], cols = sizes[at((7 * i + 3) % count)];
        check_sampled(random_sparse(rng, dtype, rows, cols, i % 3 == 0 ? 1 : 0.3), dtype,
                      sizes[at(i)], i);
      }
      Index number = 0;
      Rng rng(31);
      for (const double density : {0.0, 0.02, 0.6}) {
        for (const Index n : either({0, 1, 65, 300, 600}, {0, 65})) {
          check_sampled(random_sparse(rng, dtype, 40, 90, density), dtype, n, ++number);
        }
      }
    }
  });
}

}  // namespace
}  // namespace sparsecore::testing
