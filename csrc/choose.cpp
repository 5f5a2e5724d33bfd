#include "choose.h"

#include <algorithm>

#include "kernels.h"

namespace sparsecore {
namespace {

// |-128 * -128| * 131071 < 2^31 <= |-128 * -128| * 131072.
constexpr std::int64_t kLongestInt32Sum = 131071;

// How often each row of X is used on average before a copy of it pays. A wide X costs pages and
// cache sets; an unaligned one splits every vector load over two cache lines.
constexpr std::int64_t kReuseOfWide = 32;
constexpr std::int64_t kReuseOfUnaligned = 8;
constexpr std::int64_t kEntriesOfPackedRow = 64;

constexpr std::int64_t kCacheLine = 64;

bool rows_are_aligned(const MatrixView& m) {
  const auto address = reinterpret_cast<std::uintptr_t>(m.data);
  return address % kCacheLine == 0 && m.row_stride * item_size(m.dtype) % kCacheLine == 0;
}

}  // namespace

DType result_for(DType values, DType x) {
  return values == DType::kInt8 && x == DType::kInt8 ? DType::kInt32 : x;
}

DType accumulator_for(DType values, DType x, std::int64_t longest_sum) {
  if (x == DType::kFloat64) return DType::kFloat64;
  if (values == DType::kInt8 && x == DType::kInt8) {
    return longest_sum <= kLongestInt32Sum ? DType::kInt32 : DType::kFloat64;
  }
  return DType::kFloat32;
}

bool mix_is_allowed(DType values, DType x) {
  if (values == x) return x != DType::kInt32;
  if (values == DType::kInt8) return is_floating(x);
  return x == DType::kFloat32 && (values == DType::kFloat16 || values == DType::kBFloat16);
}

bool needs_panel(const MatrixView& x, DType accumulator, std::int64_t nnz,
                 std::int64_t tile_width) {
  if (x.dtype != accumulator) return true;
  if (x.cols == 1) return x.row_stride != 1;
  if (x.col_stride != 1) return true;
  if (x.cols > tile_width && nnz / kReuseOfWide >= x.rows) return true;
  return !rows_are_aligned(x) && nnz / kReuseOfUnaligned >= x.rows;
}

// Copying X is part of every packed product, so each of its rows must be used often enough; sums
// are read and written once a column block, so rows must have entries enough; and with a single
// column, gathering from X is faster. (bench/results/spmm-xeon-1-thread.json, `sparsecore plan`,
// packed there from 48 entries a row on: it gains with 512 to 102 of them, and loses a tenth
// with 51.)
bool pays_to_pack(std::int64_t rows, std::int64_t cols, std::int64_t nnz, std::int64_t columns) {
  return columns != 1 && columns != 0 && nnz > 0 && nnz / kReuseOfUnaligned >= cols &&
         nnz / kEntriesOfPackedRow >= rows;
}

// 128 columns of X, four vectors wide, are 32 KB. Where a row has few entries in so many, reading
// and writing its sums for each block costs more than the second-level cache does.
std::int64_t packed_block_columns(std::int64_t rows, std::int64_t cols, std::int64_t nnz) {
  const double density = static_cast<double>(nnz) /
                         std::max(1.0, static_cast<double>(rows) * static_cast<double>(cols));
  const std::int64_t width = density >= 0.04 ? 128 : density >= 0.02 ? 256 : kMaxBlockColumns;
  return std::clamp<std::int64_t>(width, 1, std::max<std::int64_t>(cols, 1));
}

// The first two ways copy X, which few rows do not repay: with 1024 columns of A and a row-major X,
// about 4 rows do up to N = 8, and 16 to 32 for N = 32 and 128.
// In the wide way one vector of right-hand columns costs as much whether its lanes are used or not:
// up to one and a half vectors the narrow one is faster. (1024 x 1024, fp32, in us. 64-byte
// vectors: narrow 103, 224, 318 for N = 8, 16, 24; wide 270 up to 16, 340 up to 32. 32-byte
// vectors: narrow 162, 253 for N = 8, 12; wide 224 up to 8, 247 up to 16.)
Sparse24Way sparse24_way(std::int64_t rows, std::int64_t cols, std::int64_t columns,
                         std::int64_t lanes, bool has_narrow) {
  constexpr std::int64_t kFewRows = 4, kFewForWide = 16;
  if (rows < kFewRows || cols == 0 || columns == 0) return Sparse24Way::kRowSweep;
  if (has_narrow && 2 * columns <= 3 * lanes) return Sparse24Way::kNarrow;
  return columns > lanes && rows >= kFewForWide ? Sparse24Way::kWide : Sparse24Way::kRowSweep;
}

bool needs_scratch(const MatrixView& out, DType accumulator, std::int64_t nnz) {
  if (out.dtype != accumulator) return true;
  if (out.cols == 1) return false;
  if (out.col_stride != 1) return true;
  return out.cols > 8 && nnz / kReuseOfUnaligned >= out.rows;
}

}  // namespace sparsecore
