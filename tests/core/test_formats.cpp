// Making CSR matrices: from triplets, arrays and dense ones; transposes and chosen rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "construct.h"
#include "dense_convert.h"
#include "gather_rows.h"
#include "oracle.h"
#include "products.h"
#include "targets.h"
#include "transpose.h"

namespace sparsecore::testing {
namespace {

// Where a conversion puts the values it moves.
struct Room {
  DType dtype;
  std::optional<Array> array = {};
  Values values(const Array& from) {
    return {from.data(), dtype, [this](Index size) { return array.emplace(dtype, size).data(); }};
  }
};

std::string mismatch(const Sparse& wanted, const CsrStructure& got, const Array& values) {
  if (std::string text = structure_mismatch(wanted, got); !text.empty()) return text;
  const Array stored = wanted.stored_values();
  const bool same = values.bytes().size() == stored.bytes().size() &&
                    std::memcmp(values.data(), stored.data(), at(stored.bytes().size())) == 0;
  return same ? "" : "other values";
}

struct Triplets {
  std::vector<Index> rows, cols;
  std::vector<double> values;
};

// Random ones, with at most two of a coordinate, whose sums are exact.
Triplets random_triplets(Rng& rng, Index rows, Index cols, Index count) {
  Triplets t;
  std::map<std::pair<Index, Index>, int> seen;
  while (std::ssize(t.rows) < count) {
    const Index r = static_cast<Index>(rng()) % rows, c = static_cast<Index>(rng()) % cols;
    if (++seen[{r, c}] > 2) continue;
    t.rows.push_back(r);
    t.cols.push_back(c);
    t.values.push_back(static_cast<int>(rng() % 63) + 1);
  }
  return t;
}

Sparse summed(const Triplets& t, DType dtype, Index rows, Index cols) {
  std::map<std::pair<Index, Index>, double> sums;
  for (std::size_t i = 0; i < t.rows.size(); ++i) sums[{t.rows[i], t.cols[i]}] += t.values[i];
  Sparse a(dtype, cols);
  for (const auto& [place, value] : sums) {
    while (a.rows < place.first) a.end_row();
    a.add_entry(place.second, value);
  }
  while (a.rows < rows) a.end_row();
  return a;
}

TEST_CASE("triplets in any order, with duplicates") {
  Index number = 0;
  for (const DType dtype : kDTypes) {
    for (const auto& [rows, cols, count] : {std::array<Index, 3>{1, 1, 1},
                                            {1, 1, 0},
                                            {7, 5, 40},
                                            {300, 70, 900},
                                            {3, 70000, 500},
                                            {70000, 300, 3000},
                                            {5, Index{1} << 40, 300}}) {
      if (are_few() && rows > 1000) continue;
      for (const int width : {1, 2, 4, 8}) {
        if (IndexArray::width_for(static_cast<std::uint64_t>(std::max(rows, cols))) > width)
          continue;
        INFO(dtype_name(dtype) << ", " << count << " triplets of " << rows << " x " << cols
                               << ", width " << width);
        Rng rng(static_cast<unsigned>(++number));
        const Triplets t = random_triplets(rng, rows, cols, count);
        const Bytes row = stored_indices(t.rows, width, number % 3);
        const Bytes col = stored_indices(t.cols, width, number % 4);
        Array values(dtype, count, number % 5);
        for (Index i = 0; i < count; ++i) values.set(i, t.values[at(i)]);
        Room room{dtype};
        const CanonicalCsr made = csr_from_triplets(
            {row.data(), width, count}, {col.data(), width, count}, rows, cols, Duplicates::kSum,
            room.values(values), static_cast<int>(number % 3 + 1));
        CHECK_EQ(mismatch(summed(t, dtype, rows, cols), *made.structure, room.array.value()), "");
      }
    }
  }
}

TEST_CASE("triplets and arrays that are refused") {
  const std::vector<Index> rows{0, 1, 1}, cols{2, 0, 0}, outside{0, 3, 1};
  const auto view = [](const std::vector<Index>& v) { return IndexView{v.data(), 8, 3}; };
  CHECK_THROWS_AS(csr_from_triplets(view(outside), view(cols), 3, 3, Duplicates::kSum, {}, 1),
                  std::out_of_range);
  CHECK_THROWS_AS(csr_from_triplets(view(rows), view(outside), 3, 3, Duplicates::kSum, {}, 1),
                  std::out_of_range);
  CHECK_THROWS_AS(csr_from_triplets(view(rows), view(cols), 3, 3, Duplicates::kError, {}, 1),
                  std::invalid_argument);
  const std::vector<Index> indptr{0, 1, 3};
  CHECK_THROWS_AS(csr_from_arrays(indptr, outside, 2, 3, Duplicates::kSum, {}, 1),
                  std::out_of_range);
  CHECK_THROWS_AS(csr_from_arrays(indptr, cols, 3, 3, Duplicates::kSum, {}, 1),
                  std::invalid_argument);
}

TEST_CASE("arrays whose rows are in any order") {
  for (const Index cols : {5, 300, 70000}) {
    Rng rng(41);
    const Sparse a = random_sparse(rng, DType::kFloat32, 9, cols, cols < 1000 ? 0.4 : 0.001);
    std::vector<Index> columns = a.columns;
    std::vector<double> numbers = a.values;
    for (Index r = 0; r < a.rows; ++r) {  // backwards
      std::reverse(columns.begin() + a.offsets[at(r)], columns.begin() + a.offsets[at(r + 1)]);
      std::reverse(numbers.begin() + a.offsets[at(r)], numbers.begin() + a.offsets[at(r + 1)]);
    }
    Array values(DType::kFloat32, a.nnz());
    for (Index p = 0; p < a.nnz(); ++p) values.set(p, numbers[at(p)]);
    Room room{DType::kFloat32};
    const CanonicalCsr made =
        csr_from_arrays(a.offsets, columns, 9, cols, Duplicates::kError, room.values(values), 2);
    CHECK_EQ(mismatch(a, *made.structure, room.array.value()), "");
    const CanonicalCsr kept =
        csr_from_arrays(a.offsets, a.columns, 9, cols, Duplicates::kError, {}, 2);
    CHECK_EQ(structure_mismatch(a, *kept.structure), "");
  }
}

TEST_CASE("the nonzeros of dense matrices") {
  for_each_target([] {
    Index number = 0;
    for (const DType dtype : kDTypes) {
      std::vector<Index> widths{255, 256, 257, 300};
      for (Index cols = 0; cols <= 2 * 64 / item_size(dtype) + 1; ++cols) widths.push_back(cols);
      for (const Index cols : widths) {
        if (are_few() && cols > 9 && cols % 8 != 1) continue;
        for (const double density : {0.0, 0.1, 0.6, 1.0}) {
          INFO(dtype_name(dtype) << ", " << cols << " columns, density " << density);
          Rng rng(static_cast<unsigned>(++number));
          const Sparse a = random_sparse(rng, dtype, 3, cols, density);
          Dense w = a.dense(layout_of(number), shift_of(number));
          for (Index c = 0; is_floating(dtype) && c < cols; ++c) {
            if (w.get(1, c) == 0 && c % 3 == 0) w.set(1, c, -0.0);
          }
          const Nonzeros found = csr_from_dense(w.view(), 1);
          Array values(dtype, a.nnz());
          std::memcpy(values.data(), found.values.data(), at(values.bytes().size()));
          CHECK_EQ(mismatch(a, *found.structure, values), "");
          Dense back(dtype, 3, cols);
          std::memset(back.view().data, 0, at(3 * cols * item_size(dtype)));
          scatter_dense(*found.structure, values.data(), item_size(dtype), back.view().data);
          CHECK(back.bits() == a.dense().bits());
        }
      }
    }
  });
}

TEST_CASE("NaN is no zero") {
  for_each_target([] {
    for (const DType dtype :
         {DType::kFloat64, DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      Dense w(dtype, 1, 37);
      for (Index c = 0; c < 37; ++c) w.set(0, c, c % 5 == 0 ? std::nan("") : 0);
      CHECK_EQ(csr_from_dense(w.view(), 1).structure->nnz(), 8);
    }
  });
}

TEST_CASE("transposes") {
  Index number = 0;
  for (const DType dtype : kDTypes) {
    for (const auto& [rows, cols, density] : {std::tuple<Index, Index, double>{0, 3, 0.5},
                                              {3, 0, 0.5},
                                              {1, 1, 1},
                                              {33, 17, 0.3},
                                              {300, 257, 0.1},
                                              {2, 70000, 0.001},
                                              {3, 140000, 0.002}}) {
      if (are_few() && cols > 1000 && dtype != DType::kFloat32) continue;
      INFO(dtype_name(dtype) << ", " << rows << " x " << cols);
      Rng rng(static_cast<unsigned>(++number));
      const Sparse a = random_sparse(rng, dtype, rows, cols, density);
      const CsrArrays arrays(a, 4, 4, number % 5);
      const TransposedCsr other = transpose(arrays.view(), static_cast<int>(number % 3 + 1));
      Array values(dtype, a.nnz());
      std::memcpy(values.data(), other.values.data(), at(values.bytes().size()));
      CHECK_EQ(mismatch(a.transposed(), *other.structure, values), "");
      const CanonicalCsr ordered = transpose(arrays.view(), Values{}, 1);
      CHECK_EQ(structure_mismatch(a.transposed(), *ordered.structure), "");
    }
  }
}

TEST_CASE("rows of every length by number") {
  Index number = 0;
  for (const DType dtype : kDTypes) {
    for (const Index cols : {40, 600, 70000}) {
      Rng rng(static_cast<unsigned>(++number));
      Sparse a(dtype, cols);
      for (Index r = 0; r < 45; ++r) {
        const Index length = r < 40 ? r : std::min<Index>(cols, 130 * (r - 39));
        for (Index c = 0; c < std::min(length, cols); ++c) {
          a.add_entry(cols - length + c, random_number(rng, dtype));
        }
        a.end_row();
      }
      std::vector<Index> ids;
      for (int i = 0; i < 200; ++i) ids.push_back(static_cast<Index>(rng() % 90) - 45);
      Sparse wanted(dtype, cols);
      for (const Index id : ids) {
        const Index r = id < 0 ? id + 45 : id;
        for (Index p = a.offsets[at(r)]; p < a.offsets[at(r + 1)]; ++p) {
          wanted.add_entry(a.columns[at(p)], a.values[at(p)]);
        }
        wanted.end_row();
      }
      const Array values = a.stored_values(number % 5);
      Room room{dtype};
      const auto structure = a.structure();
      const CanonicalCsr got = gather_rows(*structure, ids, room.values(values), 1);
      CHECK_EQ(mismatch(wanted, *got.structure, room.array.value()), "");
      ids[7] = 45;
      CHECK_THROWS_AS(gather_rows(*structure, ids, room.values(values), 1), std::out_of_range);
    }
  }
}

}  // namespace
}  // namespace sparsecore::testing
