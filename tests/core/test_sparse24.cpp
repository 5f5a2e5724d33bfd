// 2:4 matrices: selection, compression and products.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "dense_convert.h"
#include "ops.h"
#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

double magnitude(double v) {
  return std::isnan(v) ? std::numeric_limits<double>::max() : std::abs(v);
}

// Whether column `col` is one of the two largest magnitudes of its four, ties to the lower column.
bool is_kept(const Dense& w, Index row, Index col) {
  const Index first = col / 4 * 4, last = std::min(first + 4, w.cols());
  const double own = magnitude(w.get(row, col));
  int before = 0;
  for (Index c = first; c < last; ++c) {
    const double other = magnitude(w.get(row, c));
    if (other > own || (other == own && c < col)) ++before;
  }
  return before < 2;
}

// A 2:4 matrix beside what it stands for.
struct Compressed {
  std::shared_ptr<const Sparse24Structure> structure;
  Array values;

  Sparse24View view() const { return structure->view(values.data(), values.dtype()); }
  // Its slots as entries, those beyond the last column left out.
  Sparse entries() const {
    Sparse a(values.dtype(), structure->cols());
    const Index per_row = structure->values_per_row();
    for (Index r = 0; r < structure->rows(); ++r) {
      const std::uint8_t* const row =
          structure->metadata().data() + r * structure->metadata_per_row();
      for (Index slot = 0; slot < per_row; ++slot) {
        const Index column = sparse24_column(row, slot);
        if (column < a.cols) a.add_entry(column, values.get(r * per_row + slot));
      }
      a.end_row();
    }
    return a;
  }
};

Compressed compressed(const Dense& w, bool prune, Index shift = 0, int threads = 1) {
  Array values(w.dtype(), w.rows() * ((w.cols() + 3) / 4 * 2), shift);
  auto structure = compress_24(w.view(), prune, values.data(), threads);
  return {std::move(structure), std::move(values)};
}

// Small integers, so that many are equal, and zeros of both signs.
Dense with_ties(Rng& rng, DType dtype, Index rows, Index cols, Layout layout, Index shift) {
  Dense w(dtype, rows, cols, layout, shift);
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < cols; ++c) {
      const int drawn = static_cast<int>(rng() % 7) - 3;
      w.set(r, c, drawn == 0 && c % 2 == 0 && dtype != DType::kInt8 ? -0.0 : drawn);
    }
  }
  if (cols > 2 && is_floating(dtype)) w.set(0, 2, std::nan(""));
  if (dtype == DType::kInt8 && cols > 2) w.set(0, 2, -128);
  return w;
}

void check_selection(const Dense& w, Index shift) {
  const Bytes mask(w.rows() * w.cols(), shift);
  prune_24(w.view(), reinterpret_cast<std::uint8_t*>(mask.data()), 1);
  const Compressed pruned = compressed(w, true, shift);
  pruned.structure->check();
  Dense chosen(w.dtype(), w.rows(), w.cols());
  for (Index r = 0; r < w.rows(); ++r) {
    for (Index c = 0; c < w.cols(); ++c) chosen.set(r, c, 0);
  }
  scatter_dense(*pruned.structure, pruned.values.data(), item_size(w.dtype()), chosen.view().data);
  Dense again(w.dtype(), w.rows(), w.cols());
  bool is_right = true, mask_is_right = true;
  for (Index r = 0; r < w.rows(); ++r) {
    for (Index c = 0; c < w.cols(); ++c) {
      const bool kept = is_kept(w, r, c);
      again.set(r, c, kept && w.get(r, c) != 0 ? w.get(r, c) : 0);
      mask_is_right &= mask.data()[r * w.cols() + c] == std::byte{kept};
      is_right &= Expected{again.get(r, c), 0}.is_met_by(chosen.get(r, c));
    }
  }
  CHECK(mask_is_right);
  CHECK(is_right);
  const Compressed same = compressed(again, false);
  CHECK(*same.structure == *pruned.structure);
  CHECK_EQ(std::memcmp(same.values.data(), pruned.values.data(), at(same.values.bytes().size())),
           0);
}

TEST_CASE("2:4 selection and compression") {
  for_each_target([] {
    Index number = 0;
    for (const DType dtype : kDTypes) {
      const Index step = 64 / item_size(dtype);
      for (Index cols = 1; cols <= 2 * step + 9; cols += are_few() && cols > 9 ? 7 : 1) {
        INFO(dtype_name(dtype) << ", " << cols << " columns");
        Rng rng(static_cast<unsigned>(++number));
        check_selection(with_ties(rng, dtype, 3, cols, layout_of(number), shift_of(number)),
                        shift_of(number + 1));
      }
    }
  });
}

TEST_CASE("a row that is not 2:4 is named") {
  for_each_target([] {
    for (const DType dtype : kDTypes) {
      for (const Index group : {0, 7, 40}) {
        Dense w(dtype, 2, 165);
        for (Index r = 0; r < 2; ++r) {
          for (Index c = 0; c < 165; ++c) w.set(r, c, c % 4 < 2 ? 1 : 0);
        }
        w.set(1, 4 * group, 1);
        w.set(1, 4 * group + (group == 40 ? 3 : 2), 1);
        CHECK_THROWS_WITH_AS(compressed(w, false),
                             doctest::Contains(("group " + std::to_string(group)).c_str()),
                             std::invalid_argument);
      }
    }
  });
}

void check_product(Rng& rng, const Mix& mix, Index rows, Index cols, Index n, Index number) {
  INFO(rows << " x " << cols << " by " << n << ", " << dtype_name(mix.values) << " by "
            << dtype_name(mix.x) << ", number " << number);
  const Compressed a =
      compressed(random_dense(rng, mix.values, rows, cols), true, shift_of(number));
  const Array scale = random_array(rng, DType::kFloat32, rows, 1.0 / 64);
  EpilogueParts epilogue;
  if (mix.is_scaled) epilogue.scale = &scale;
  const Dense x = random_dense(rng, mix.x, cols, n, layout_of(number), shift_of(number + 1));
  const Dense y(result_dtype(mix.values, mix.x), rows, n, layout_of(number / kLayouts),
                shift_of(number + 2));
  sparse24_matmul(a.view(), {x.view(), epilogue.view(), y.view(), false, 1, "product"});
  CHECK_EQ(product_mismatch(a.entries(), x, epilogue, y), "");
}

TEST_CASE("2:4 products of all sizes around a vector") {
  for_each_target([] {
    for (const Mix& mix : kMixes) {
      const std::vector<Index> sizes = sizes_around(lanes_of(summed_in(mix.values, mix.x)));
      const Index count = std::ssize(sizes);
      for (Index i = 0; i < count; ++i) {
        Rng rng(static_cast<unsigned>(i));
        for (Index k = 0; k < (are_few() ? 2 : 6); ++k) {
          check_product(rng, mix, sizes[at((5 * i + k) % count)] + k % 2 * 16,
                        sizes[at((7 * i + 3 * k) % count)] + k / 2 * 20, sizes[at(i)], i + 5 * k);
        }
      }
    }
  });
}

// Past the widest tiles, 256 rows and 512 columns.
TEST_CASE("2:4 products of several blocks") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : kMixes) {
      const Index lanes = lanes_of(summed_in(mix.values, mix.x));
      for (const Index n : either({1, 9, lanes + 1, 8 * lanes + 3}, {3, lanes + 1})) {
        Rng rng(21);
        const Index rows = are_few() ? 33 : 261, cols = are_few() ? 530 : 1047;
        check_product(rng, mix, rows, cols, n, ++number);
      }
    }
  });
}

TEST_CASE("2:4 products of nothing") {
  for_each_target([] {
    Rng rng(22);
    for (const Mix& mix : kMixes) {
      for (const auto& [rows, cols, n] :
           {std::array<Index, 3>{0, 0, 0}, {0, 5, 3}, {20, 0, 3}, {20, 6, 0}, {1, 1, 1}}) {
        check_product(rng, mix, rows, cols, n, 0);
      }
    }
  });
}

// NaN and infinities where no slot is reach nothing.
TEST_CASE("what X holds where a 2:4 matrix has no slot") {
  for_each_target([] {
    for (const Mix& mix : {kMixes[0], kMixes[1], kMixes[3], kMixes[5]}) {
      for (const Index n : {1, 7, 16, 33}) {
        Rng rng(23);
        Dense w(mix.values, 35, 71);  // the same two columns of each group in every row
        for (Index r = 0; r < 35; ++r) {
          for (Index c = 0; c < 71; ++c) {
            w.set(r, c, c % 4 == 1 || c % 4 == 2 ? random_number(rng, mix.values) : 0);
          }
        }
        const Compressed a = compressed(w, false);
        Dense x = random_dense(rng, mix.x, 71, n);
        for (Index r = 0; r < 71; ++r) {
          for (Index j = 0; (r % 4 == 0 || r % 4 == 3) && j < n; ++j) {
            x.set(r, j, (r + j) % 2 == 0 ? std::nan("") : std::numeric_limits<double>::infinity());
          }
        }
        const Dense y(mix.x, 35, n);
        sparse24_matmul(a.view(), {x.view(), {}, y.view(), false, 1, "product"});
        CHECK_EQ(product_mismatch(a.entries(), x, {}, y), "");
      }
    }
  });
}

}  // namespace
}  // namespace sparsecore::testing
