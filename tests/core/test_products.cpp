// Products with a CSR matrix, in every way.
#include <cmath>
#include <limits>

#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

// Every number of right-hand columns, and of rows and inner columns picked from the same numbers.
TEST_CASE("products of all sizes around a vector") {
  for_each_target([] {
    for (const Mix& mix : kMixes) {
      const std::vector<Index> sizes = sizes_around(lanes_of(summed_in(mix.values, mix.x)));
      const Index count = std::ssize(sizes);
      for (Index i = 0; i < count; ++i) {
        Rng rng(static_cast<unsigned>(i));
        const Index rows = sizes[at((5 * i + 1) % count)], cols = sizes[at((7 * i + 3) % count)];
        const double density = i % 3 == 0 ? 1 : 0.3;
        check_every_way(random_sparse(rng, mix.values, rows, cols, density), mix, sizes[at(i)], i);
      }
      const Index widest_tile = 8 * lanes_of(summed_in(mix.values, mix.x));
      Rng rng(9);
      const Sparse a = random_sparse(rng, mix.values, 18, 23, 0.3);
      for (const Index n : {widest_tile - 1, widest_tile, widest_tile + 3}) {
        check_every_way(a, mix, n, n);
      }
    }
  });
}

// Past the widest block of columns, several row blocks of 128 rows and column blocks of 512
// columns, and rows longer than the 512 entries that are decoded at a time.
TEST_CASE("products of several blocks") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : kMixes) {
      const Index lanes = lanes_of(summed_in(mix.values, mix.x));
      for (const Index n : either({1, 4, 6, lanes + 1, 4 * lanes + 3}, {1, lanes + 1})) {
        Rng rng(static_cast<unsigned>(n));
        const Index rows = are_few() ? 131 : 259, cols = are_few() ? 530 : 1030;
        Sparse a(mix.values, cols);
        for (Index r = 0; r < rows; ++r) {
          const unsigned one_in = r % 97 == 5 ? 1 : r % 50 == 7 ? 2000 : 30;
          for (Index c = 0; c < cols; ++c) {
            if (rng() % one_in == 0) a.add_entry(c, random_number(rng, mix.values));
          }
          a.end_row();
        }
        check_every_way(a, mix, n, number += 7);
      }
    }
  });
}

TEST_CASE("products of nothing, empty lines and single dense ones") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : {kMixes[0], kMixes[1], kMixes[4], kMixes[5], kMixes[9]}) {
      Rng rng(3);
      for (const auto& [rows, cols, n] : {std::array<Index, 3>{0, 0, 0},
                                          {0, 5, 3},
                                          {5, 0, 3},
                                          {4, 6, 0},
                                          {3, 4, 2},
                                          {33, 40, 1}}) {
        check_every_way(random_sparse(rng, mix.values, rows, cols, 0), mix, n, ++number);
      }
      Sparse one_row(mix.values, 70);
      for (Index r = 0; r < 35; ++r) {
        for (Index c = 0; r == 17 && c < 70; ++c) {
          one_row.add_entry(c, random_number(rng, mix.values));
        }
        one_row.end_row();
      }
      const Sparse one_column = one_row.transposed();
      for (const Index n : {1, 5, 16}) {
        check_every_way(one_row, mix, n, ++number);
        check_every_way(one_column, mix, n, ++number);
      }
    }
  });
}

TEST_CASE("products whose last columns end a width of indices") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : {kMixes[1], kMixes[4]}) {
      for (const Index cols : either({255, 256, 257, 65535, 65536, 65537}, {256, 257})) {
        Rng rng(5);
        Sparse a(mix.values, cols);
        for (Index r = 0; r < 3; ++r) {
          for (const Index c : {Index{0}, Index{100}, cols - 2, cols - 1}) {
            if (r != 1) a.add_entry(c, random_number(rng, mix.values));
          }
          a.end_row();
        }
        const Sparse other = a.transposed();
        for (const Index n : {1, 3}) {
          check_every_way(a, mix, n, ++number);
          if (n == 1 || cols < 1000) check_every_way(other, mix, n, ++number);
        }
      }
    }
  });
}

// What a row of X that is NaN or infinite makes of a result that was `clean`: rows with an entry
// there become `poison` with its value's sign, and no other changes by a bit.
std::string poison_mismatch(const Sparse& a, Index row, double poison, const Dense& clean,
                            const Dense& got) {
  for (Index r = 0; r < a.rows; ++r) {
    for (Index j = 0; j < got.cols(); ++j) {
      double wanted = clean.get(r, j);
      for (Index p = a.offsets[at(r)]; p < a.offsets[at(r + 1)]; ++p) {
        if (a.columns[at(p)] == row) wanted = a.values[at(p)] * poison;
      }
      if (!Expected{wanted, 0}.is_met_by(got.get(r, j))) {
        return "row " + std::to_string(row) + " of X reaches row " + std::to_string(r);
      }
    }
  }
  return "";
}

void check_poison(const Sparse& a, const Mix& mix, Index n, std::vector<Index> rows_of_x) {
  Rng rng(8);
  Array quarter(DType::kFloat32, a.rows);
  for (Index r = 0; r < a.rows; ++r) quarter.set(r, 0.25);
  EpilogueParts epilogue;
  if (mix.is_scaled) epilogue.scale = &quarter;
  for (const Way& way : kWays) {
    INFO(way.name << ", " << dtype_name(mix.values) << " by " << dtype_name(mix.x) << ", n=" << n);
    const Multiplier multiplier(way, a, n);
    Dense x = random_dense(rng, mix.x, a.cols, n);
    const Dense clean(mix.x, a.rows, n), got(mix.x, a.rows, n);
    multiplier.run(x, epilogue, clean);
    for (const Index row : rows_of_x) {
      std::vector<double> kept;
      for (Index j = 0; j < n; ++j) kept.push_back(x.get(row, j));
      for (const double poison : {std::nan(""), std::numeric_limits<double>::infinity()}) {
        for (Index j = 0; j < n; ++j) x.set(row, j, poison);
        multiplier.run(x, epilogue, got);
        CHECK_EQ(poison_mismatch(a, row, poison, clean, got), "");
      }
      for (Index j = 0; j < n; ++j) x.set(row, j, kept[at(j)]);
    }
  }
}

TEST_CASE("what X holds where the matrix has no entry") {
  for_each_target([] {
    for (const Mix& mix : kMixes) {
      if (mix.x == DType::kInt8) continue;
      const Index lanes = lanes_of(summed_in(mix.values, mix.x));
      Rng rng(4);
      const Sparse a = random_sparse(rng, mix.values, 19, 22, 0.3);
      for (const Index n :
           either({1, 2, lanes - 1, lanes, 2 * lanes + 1, 8 * lanes + 3}, {1, lanes - 1})) {
        check_poison(a, mix, n, either({0, 1, 5, 11, 15, 16, 20, 21}, {0, 21}));
      }
      if (are_few()) continue;
      const Sparse b = random_sparse(rng, mix.values, 70, 600, 0.4);
      for (const Index n : {1, 4, 17}) check_poison(b, mix, n, {0, 63, 64, 511, 512, 513, 599});
    }
  });
}

}  // namespace
}  // namespace sparsecore::testing
