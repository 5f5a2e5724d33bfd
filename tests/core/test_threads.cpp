// Results do not depend on the number of threads.
#include <cstring>

#include "dense_convert.h"
#include "ops.h"
#include "products.h"
#include "targets.h"
#include "transpose.h"

namespace sparsecore::testing {
namespace {

// The matrices are large enough for three threads to have something to do (parallel.cpp).
constexpr Index kRows = 300, kCols = 400;

// Checks that made(threads), a vector of bytes, is the same for 1, 2 and 3.
template <class Made>
void check_threads(Made made) {
  const std::vector<std::byte> alone = made(1);
  CHECK(made(2) == alone);
  CHECK(made(3) == alone);
}

std::vector<std::byte> bytes_of(const void* data, Index size) {
  const auto* const begin = static_cast<const std::byte*>(data);
  return {begin, begin + size};
}

TEST_CASE("products on one, two and three threads") {
  for_each_target([] {
    for (const Mix& mix : {kMixes[1], kMixes[4], kMixes[0], kMixes[2]}) {
      if (are_few() && mix.x != DType::kFloat32 && mix.x != DType::kInt8) continue;
      Rng rng(51);
      const Sparse a = random_sparse(rng, mix.values, kRows, kCols, 0.4);
      for (const Index n : either({1, 5, 40, 130}, {17})) {
        const Dense x = random_dense(rng, mix.x, kCols, n);
        for (const Way& way : kWays) {
          INFO(way.name << ", " << dtype_name(mix.values) << ", n=" << n);
          check_threads([&](int threads) {
            const Dense y(result_dtype(mix.values, mix.x), kRows, n);
            Multiplier(way, a, n, 0, threads).run(x, {}, y, threads);
            return y.bits();
          });
        }
      }
    }
  });
}

TEST_CASE("2:4 and sampled products on one, two and three threads") {
  for_each_target([] {
    for (const DType dtype : kDTypes) {
      if (are_few() && dtype != DType::kFloat32 && dtype != DType::kInt8) continue;
      Rng rng(52);
      const Dense w = random_dense(rng, dtype, kRows, kCols);
      const Array values(dtype, kRows * kCols / 2);
      check_threads([&](int threads) {
        const auto structure = compress_24(w.view(), true, values.data(), threads);
        std::vector<std::byte> made = bytes_of(values.data(), values.bytes().size());
        for (const std::uint8_t byte : structure->metadata()) made.push_back(std::byte{byte});
        return made;
      });
      const auto structure = compress_24(w.view(), true, values.data(), 1);
      const Sparse a = random_sparse(rng, dtype, kRows, kCols, 0.3);
      const CsrArrays arrays(a, 4, 4, 0);
      for (const Index n : either({1, 5, 40}, {5, 40})) {
        INFO(dtype_name(dtype) << ", n=" << n);
        const Dense x = random_dense(rng, dtype, kCols, n), u = random_dense(rng, dtype, kRows, n);
        check_threads([&](int threads) {
          const Dense y(result_dtype(dtype, dtype), kRows, n);
          sparse24_matmul(structure->view(values.data(), dtype),
                          {x.view(), {}, y.view(), false, threads, "product"});
          return y.bits();
        });
        check_threads([&](int threads) {
          const Array d(sddmm_dtype(dtype, dtype), a.nnz());
          csr_sddmm(arrays.view(), u.view(), x.view(), d.data(), threads);
          return bytes_of(d.data(), d.bytes().size());
        });
      }
    }
  });
}

TEST_CASE("conversions on one, two and three threads") {
  Rng rng(53);
  const Sparse a = random_sparse(rng, DType::kFloat32, kRows, kCols, 0.4);
  const Dense w = a.dense();
  check_threads([&](int threads) {
    const Nonzeros found = csr_from_dense(w.view(), threads);
    CHECK_EQ(structure_mismatch(a, *found.structure), "");
    return bytes_of(found.values.data(), 4 * a.nnz());
  });
  Sparse wide(DType::kFloat32, 200000);  // so many columns are sorted, on threads
  for (Index r = 0; r < 20; ++r) {
    for (Index c = r; c < wide.cols; c += 400 + r)
      wide.add_entry(c, random_number(rng, wide.dtype));
    wide.end_row();
  }
  const CsrArrays arrays(wide, 4, 4, 0);
  check_threads([&](int threads) {
    const TransposedCsr other = transpose(arrays.view(), threads);
    CHECK_EQ(structure_mismatch(wide.transposed(), *other.structure), "");
    return bytes_of(other.values.data(), 4 * wide.nnz());
  });
}

}  // namespace
}  // namespace sparsecore::testing
