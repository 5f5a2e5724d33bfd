// The rules: how a product is run, by pattern, shape, dtype, the target's vectors and what the
// processor is good at (dispatch.h) only, never by the values or the machine's load, so that the
// same call gives the same bits. (plans/make.cpp looks at a pattern's skew besides.)
#pragma once

#include <cstdint>

#include "chunk_codes.h"
#include "kernels.h"
#include "views.h"

namespace sparsecore {

// The type that sums are kept in, and the type that leaves.
//
// fp64 in fp64, everything narrower in fp32; int8 by int8 in int32, or exactly in fp64 (below
// 2^53) where a sum of `longest_sum` products could pass int32.
DType accumulator_for(DType values, DType x, std::int64_t longest_sum);
DType result_for(DType values, DType x);

// Whether an operation takes values of one dtype with a right side of another.
bool mix_is_allowed(DType values, DType x);

// Whether X is first copied into contiguous, aligned panels of the accumulator type, a tile of
// columns at a time, or read in place. Either way the sums, and so the bits, are the same.
bool needs_panel(const MatrixView& x, DType accumulator, std::int64_t nnz, std::int64_t tile_width);

// Whether a plan for products with `columns` right-hand columns (negative: unknown, many) packs the
// matrix.
// `by_rows`: X and the result hold a right-hand column a row.
bool pays_to_pack(std::int64_t rows, std::int64_t cols, std::int64_t nnz, std::int64_t columns,
                  bool by_rows = false);

// The processor's faster way to gather.
Gathers best_gathers();

// Whether wide packed products load values and offsets four at a time and pick them apart.
bool picks_from_registers();

// Whether a packed product copies an X that lies as its copy would, but for where it begins.
bool pays_to_align(const MatrixView& x, std::int64_t entries);

// How many neighbouring entries of a row a packed product multiplies at once (combined.h): 0, 2, 4.
int combined_width(DType values, DType x, DType accumulator);

// Whether a product with a matrix that is not packed begins with packing it.
bool pays_to_pack_once(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                       std::int64_t columns);

// The width of column blocks (blocked_rows.h) for so many right-hand columns (negative: unknown,
// many): at most kMaxBlockColumns, for few of them kMostPackedColumns.
std::int64_t block_columns(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                           std::int64_t columns);

// Whether a convolution reads its right side from planes (tap_planes.h), of which `copied` elements
// are written for one of the result, `width` a row, or from patches (patches.h).
bool pays_to_make_planes(std::int64_t taps, double copied, std::int64_t width, std::int64_t lanes);

// Whether a convolution with weights of this shape is summed straight from its images
// (depthwise.h), which then have few places that the kernel does not fill.
bool pays_to_sum_taps(const ConvGeometry& geometry, std::int64_t rows, std::int64_t cols);

// Whether a product with the transpose of a matrix begins with making it.
bool pays_to_transpose(std::int64_t nnz, std::int64_t columns);

// Whether a plan for so many right-hand columns lays rows out in lanes (block_permute.h), and in
// which form. `permutes`: the target looks up in registers.
bool pays_to_permute(std::int64_t rows, std::int64_t cols, std::int64_t nnz, std::int64_t columns,
                     DType dtype, bool permutes);
constexpr std::int64_t kMostPermutedColumns = std::int64_t{1} << 31;  // positions take 32 bits
ChunkForm chunk_form(std::int64_t rows, std::int64_t cols, std::int64_t nnz, DType dtype,
                     bool permutes);

// How a 2:4 matrix is multiplied by `columns` columns: entries in the lanes (where the target can),
// right-hand columns in the lanes, or as CSR is, row by row.
enum class Sparse24Way : std::uint8_t { kNarrow, kWide, kRowSweep };
Sparse24Way sparse24_way(std::int64_t rows, std::int64_t cols, std::int64_t columns,
                         std::int64_t lanes, bool has_narrow);

// Whether a transposed product sums into aligned scratch of its own, or straight into `out`.
bool needs_scratch(const MatrixView& out, DType accumulator, std::int64_t nnz);

}  // namespace sparsecore
