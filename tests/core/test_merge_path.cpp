// The path that merges entries with the ends of rows, beside a walk along it.
#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "cuda/merge_path.h"

namespace sparsecore::cuda {
namespace {

std::vector<std::uint64_t> offsets_of(const std::vector<int>& lengths) {
  std::vector<std::uint64_t> offsets(lengths.size() + 1);
  std::partial_sum(lengths.begin(), lengths.end(), offsets.begin() + 1);
  return offsets;
}

RowEnds ends_of(const std::vector<std::uint64_t>& offsets) {
  return {{offsets.data(), 8, static_cast<std::int64_t>(offsets.size())}};
}

TEST_CASE("a diagonal is crossed where a walk crosses it") {
  for (const std::vector<int>& lengths :
       {std::vector<int>{}, {0}, {3}, {2, 0, 0, 5, 1}, {0, 0, 4}, {1, 1, 1, 0, 0, 0}, {7, 9}}) {
    const auto offsets = offsets_of(lengths);
    const RowEnds ends = ends_of(offsets);
    const auto entries = static_cast<std::int64_t>(offsets.back());
    std::int64_t row = 0, entry = 0;
    for (std::int64_t diagonal = 0; diagonal <= ends.rows() + entries; ++diagonal) {
      CHECK_EQ(rows_before(ends, rows_at(diagonal, ends.rows(), entries), diagonal), row);
      if (row < ends.rows() && ends[row] <= entry) {
        ++row;
      } else {
        ++entry;
      }
    }
    CHECK_EQ(row, ends.rows());
  }
}

TEST_CASE("positions beyond 32 bits") {
  const std::int64_t big = std::int64_t{1} << 33;
  const std::vector<std::uint64_t> offsets{0, static_cast<std::uint64_t>(big),
                                           static_cast<std::uint64_t>(big) + 3};
  const RowEnds ends = ends_of(offsets);
  const auto rows = [&](std::int64_t diagonal) {
    return rows_before(ends, rows_at(diagonal, std::int64_t{2}, big + 3), diagonal);
  };
  CHECK_EQ(rows(big), 0);
  CHECK_EQ(rows(big + 1), 1);
  CHECK_EQ(rows(big + 4), 1);
  CHECK_EQ(rows(big + 5), 2);
  CHECK_EQ(share_of_row(1, big, 896), (big + 1) / 896);
}

TEST_CASE("a row begins in the share that takes its first step") {
  const auto offsets = offsets_of({5, 0, 3, 8, 2});
  const RowEnds ends = ends_of(offsets);
  constexpr std::int64_t kShare = 4;
  for (std::int64_t row = 0; row < ends.rows(); ++row) {
    const auto begin = static_cast<std::int64_t>(offsets[static_cast<std::size_t>(row)]);
    const std::int64_t share = share_of_row(row, begin, kShare);
    const auto before = [&](std::int64_t diagonal) {
      const std::int64_t most = ends.rows() + 18, at = diagonal < most ? diagonal : most;
      return rows_before(ends, rows_at(at, ends.rows(), std::int64_t{18}), at);
    };
    CHECK_LE(before(share * kShare), row);
    // Before the share no entry of the row is passed: there are those of earlier rows at most.
    CHECK_LE(share * kShare - before(share * kShare), begin);
    CHECK_GT((share + 1) * kShare, row + begin);
  }
}

}  // namespace
}  // namespace sparsecore::cuda
