#include "choose.h"

namespace sparsecore {
namespace {

// |-128 * -128| * 131071 < 2^31 <= |-128 * -128| * 131072.
constexpr std::int64_t kLongestInt32Sum = 131071;

// A copied panel is dense in cache and pages where a wide X is not; it pays once every row of X is
// used about this often.
constexpr std::int64_t kPanelReuse = 32;

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
  return x.cols > tile_width && nnz / kPanelReuse >= x.rows;
}

}  // namespace sparsecore
