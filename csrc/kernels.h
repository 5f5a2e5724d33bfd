// The signature of every kernel that exists once per CPU target (see cpu/kernels.cpp).
//
// Kernels are instantiated on the accumulator type: double, float or int32. Storage types and index
// widths are decoded on the way in and encoded on the way out, a window at a time, so they do not
// multiply the code; but for products with few columns, where reading the matrix is all there is to
// do: those (row_dot.h, block_permute.h, sparse24_narrow.h) widen in registers, once a storage
// type.
#pragma once

#include <array>
#include <cstdint>

#include "chunk_codes.h"
#include "depthwise_tile.h"
#include "epilogue.h"
#include "image.h"
#include "views.h"

namespace sparsecore {

// How elements of X are fetched into lanes by their numbers: by the processor's instruction for
// that, or put together from single loads. Targets without the instruction ignore this. The sums,
// and so the bits, are the same.
enum class Gathers : std::uint8_t { kInstruction, kSingleLoads };

// The part of a product that one kernel call computes: y[r - row_begin][0 ... n) for rows
// [row_begin, row_end), from the n columns of the right side that `x` points at.
template <class Acc>
struct SweepTile {
  std::int64_t row_begin;
  std::int64_t row_end;
  const Acc* x;  // x[k * x_stride + j]
  std::int64_t x_stride;
  Acc* y;  // y[(r - row_begin) * y_stride + j]
  std::int64_t y_stride;
  std::int64_t n;                           // 1 ... Kernels<Acc>::tile_width
  Gathers gathers = Gathers::kInstruction;  // of CSR, where n is 1
};

// The rows of a row block. Those of its last group that do not exist have numbers from here on.
constexpr std::int64_t kBlockedRows = 128;

// What one column block of A adds to the sums of one row block (blocked_rows.h).
template <class Acc>
struct BlockTile {
  std::int64_t groups;
  const std::uint16_t* counts;  // entries of each group's four rows, the longest first
  const std::uint16_t* rows;    // four a group
  const void* values;           // of the whole matrix, in its kernel's order
  DType dtype;
  std::int64_t columns;  // of X
  std::int64_t width;    // their block_width()
  const Acc* panel;      // row k of X at panel[k * width]
  Acc* sums;             // sums[row * sums_stride + j]
  std::int64_t sums_stride;
  bool first;  // the sums begin with this column block
};

// The widths that sweeps over blocks have: whole vectors of `lanes`, or the part of one that holds
// four or eight columns.
constexpr std::int64_t block_width(std::int64_t columns, std::int64_t lanes) {
  for (std::int64_t part = 4; part < lanes; part *= 2) {
    if (columns <= part) return part;
  }
  return (columns + lanes - 1) / lanes * lanes;
}

// The offset of a packed entry is so many times its column, counted from the block's first: that
// saves a shift where a row of the panel has eight fp32 columns, 8 bytes for each offset.
constexpr int kOffsetOfColumn = 4;

// What becomes of a row block's sums that go from registers to memory: no scale, and no activation
// but ReLU. Rows and columns are the tile's.
template <class Acc>
struct BlockFinish {
  std::int64_t rows;  // the block's, without those that fill up its last group
  Acc* out;           // out[row * out_stride + j]
  std::int64_t out_stride;
  const Acc* bias;      // of each row; nullptr: none
  const Acc* residual;  // as out; nullptr: none
  std::int64_t residual_stride;
  bool relu;
};

// The same for a packed matrix (packed.h). The panel begins with the block's first column.
template <class Acc>
struct PackedTile : BlockTile<Acc> {
  const std::uint16_t* offsets;  // of all entries of the matrix
  std::int64_t first_entry;      // the block's first
  bool padding_is_zero;          // it names a row of zeros; else the first of the panel
  bool picks;                    // where a row takes more than two vectors (choose.h)
  bool in_place = false;         // offsets are in elements of the panel, whose rows may overlap
  const BlockFinish<Acc>* finish = nullptr;  // of the last column block, whose sums are not kept
  // Whether every second entry of a row of at most kBytesApart is summed up by itself: the order of
  // a sum, so that parts of a product choose as the whole would.
  bool odd_apart = true;
};
constexpr std::int64_t kBytesApart = 32;

// The same for an int8 matrix by an int8 X, several entries an item (combined.h).
struct CombinedTile : PackedTile<std::int32_t> {
  const std::int32_t* first_sums;  // of the row block's rows
};

// write_out takes blocks of at most so many rows.
constexpr std::int64_t kWrittenRows = 128;

// Columns of a convolution's right side (patches.h) that follow one another: the first, and where
// the element lies that the kernel's first place meets there, counted from the image's first; it
// may lie outside.
struct PatchRun {
  std::int64_t first, count, source;
};
// A place of the kernel: so many elements after the first one. Bit j is set where it meets the
// image in column j of the tile.
struct PatchTap {
  std::int64_t offset;
  std::uint64_t inside;
};
constexpr std::int64_t kMostPatchColumns = 64;

// Rows of a tile of such columns: panel[r * width + j], r counted from first_row.
template <class Acc>
struct PatchTile {
  const ImageView* image;
  const PatchRun* runs;
  std::int64_t run_count;
  const PatchTap* taps;
  std::int64_t tap_count;
  std::int64_t step;  // between neighbouring columns of a run
  std::int64_t first_row, rows;
  Acc* panel;
  std::int64_t width;  // of the panel; the runs fill it
};

// A plane of a strip (tap_planes.h). Its row y is, of the image's row `row` + y * the vertical
// stride, the columns `shift`, `shift` + the horizontal stride, ...: in rows [row_begin, row_end)
// of the plane and columns [col_begin, col_end). Elsewhere it lies outside the image.
struct TapPlane {
  std::int64_t row, shift;
  std::int64_t row_begin, row_end;
  std::int64_t col_begin, col_end;
};
// Those of some channels: planes[(c * count + p) * stride + y * width + x].
template <class Acc>
struct TapPlaneTile {
  const ImageView* image;             // one image of the channels, of the accumulator's type
  std::int64_t vertical, horizontal;  // strides
  const TapPlane* planes;             // of a channel
  std::int64_t count;
  std::int64_t width;
  Acc* to;
  std::int64_t stride;  // from one plane to the next; zeros fill it
};

// A plane of an image, and the largest elements of its windows (cpu/max_pool.h).
template <class Acc>
struct PoolTile {
  const Acc* from;
  std::int64_t row_stride, height, width;
  std::array<std::int64_t, 2> kernel, stride, padding;  // vertical, horizontal
  Acc* to;                                              // to[y * out_width + x]
  std::int64_t out_height, out_width;
  Acc* row;  // room for width + 2 * padding elements and two vectors, all of it -infinity
};

// What a wide 2:4 product adds to the sums of some rows: their entries in one block of columns
// (cpu/sparse24_wide.h).
template <class Acc>
struct Wide24Tile {
  std::int64_t row_begin;
  std::int64_t row_end;
  std::int64_t column;   // of A, the block's first
  std::int64_t columns;  // 1 ... kMostWide24Columns
  const Acc* panel;  // panel[(c - column) * (vectors, rounded up to a power of two) * lanes + j]
  Acc* sums;         // sums[(r - row_begin) * vectors * lanes + j]
  int vectors;       // 1 ... Kernels<Acc>::wide24_vectors
  bool first;        // the sums begin with this column block
  bool picks;        // values are loaded four at a time (choose.h)
};
constexpr std::int64_t kMostWide24Columns = 512;

// A narrow 2:4 product takes at most so many columns of X.
constexpr std::int64_t kNarrow24Columns = 8;

// A column block has at most this many columns; packed for few columns of X, so many, whose offsets
// fit 16 bits.
constexpr std::int64_t kMaxBlockColumns = 512;
constexpr std::int64_t kMostPackedColumns = 8192;
static_assert(kOffsetOfColumn * kMostPackedColumns <= UINT16_MAX);

// The groups of one row block of a block-permuted matrix (block_permute.h).
template <class Acc>
struct BlockPermuteTile {
  const std::int64_t* starts;  // each group's first chunk, and the end
  std::int64_t groups;
  const std::uint8_t* rows;  // sixteen a group
  ChunkForm form;
  const std::uint32_t* bases;  // of all chunks of the matrix
  const std::uint32_t* codes;  // likewise
  const void* values;          // likewise
  DType dtype;
  const Acc* x;  // x[j * x_stride + base + field]
  std::int64_t x_stride;
  int columns;  // 1 ... permute_columns(form)
  Acc* sums;    // sums[row * columns + j]
  Gathers gathers;
};

// So many columns one block permutation takes: more windows of X do not fit 32 registers.
constexpr int kPermuteColumns = 4;
constexpr int permute_columns(ChunkForm form) {
  return form == ChunkForm::kPermutedWide ? 2 : kPermuteColumns;
}

// What a sampled product takes at a time: some columns of U and V, for some rows of A.
template <class Acc>
struct SampledTile {
  std::int64_t row_begin;
  std::int64_t row_end;
  std::int64_t block_columns;  // of A: rows of V that lie in the first-level cache at a time
  const Acc* u;                // u[row * u_stride + j]
  std::int64_t u_stride;
  const Acc* v;  // v[column * v_stride + j]
  std::int64_t v_stride;
  std::int64_t n;  // columns of U and V
  bool first;      // d begins with these columns
  Acc* d;          // d[entry]
};

// An epilogue with its vectors already in the accumulator type (nullptr: absent).
template <class Acc>
struct LoadedEpilogue {
  const Acc* scale;
  const Acc* bias;
  MatrixView residual;
  Activation activation;
};

// int8 by int8, neighbouring entries of a row at once (cpu/combined_sweep.h).
struct CombinedKernels {
  // Entries an item at most for which the target has an instruction, or 0; 4 is for processors with
  // AVX512_VNNI only.
  int widest;
  // sums (+)= A x for a block, items being of two or of four columns.
  void (*pair_sweep)(const CombinedTile& tile);
  void (*quad_sweep)(const CombinedTile& tile);
  // The panel rows that these take, each of two or four rows of X (int8).
  void (*load_pairs)(const MatrixView& x, std::int32_t* panel, std::int64_t panel_stride);
  void (*load_quads)(const MatrixView& x, std::int32_t* panel, std::int64_t panel_stride);
};

template <class Acc>
struct Kernels {
  std::int64_t lanes;          // of a vector
  std::int64_t tile_width;     // right-hand columns one sweep keeps in registers
  std::int64_t block_vectors;  // vectors of right-hand columns a packed sweep keeps there
  bool permutes;               // block permutations look up in registers

  // y = A x for a tile (cpu/row_sweep.h).
  void (*csr_sweep)(const CsrView& a, const SweepTile<Acc>& tile);
  void (*sparse24_sweep)(const Sparse24View& a, const SweepTile<Acc>& tile);

  // sums (+)= A x for a block (cpu/packed_sweep.h).
  void (*packed_sweep)(const PackedTile<Acc>& tile);

  CombinedKernels combined;  // of int32's only

  // sums = A x for a block (cpu/block_permute.h).
  void (*block_permute)(const BlockPermuteTile<Acc>& tile);

  // sums (+)= A x for a block of a 2:4 matrix (cpu/sparse24_wide.h).
  int wide24_vectors;
  void (*sparse24_wide)(const Sparse24View& a, const Wide24Tile<Acc>& tile);

  // y = A x of a 2:4 matrix for up to kNarrow24Columns columns, x being the panel that
  // sparse24_panel makes: x[j * x_stride + ...], x_stride a multiple of 32 from A's columns up.
  // nullptr where there are none (cpu/sparse24_narrow.h).
  void (*sparse24_narrow)(const Sparse24View& a, const SweepTile<Acc>& tile);
  void (*sparse24_panel)(const MatrixView& x, Acc* panel, std::int64_t stride);

  // y[column] += a[row][column] * x[row] for rows [row_begin, row_end) (cpu/row_scatter.h).
  // Here x[(r - row_begin) * x_stride + j] and y[column * y_stride + j].
  void (*csr_scatter)(const CsrView& a, const SweepTile<Acc>& tile);

  // d[p] (+)= <u[row], v[column]> for the entries p of A in some rows (cpu/sddmm.h).
  void (*sddmm)(const CsrView& a, const SampledTile<Acc>& tile);

  // panel[r * panel_stride + j] = block[r][j], converted (cpu/convert.h).
  void (*load_panel)(const MatrixView& block, Acc* panel, std::int64_t panel_stride);

  // The same for rows of a convolution's right side (cpu/patches.h).
  void (*load_patches)(const PatchTile<Acc>& tile);
  // Its planes (cpu/tap_planes.h).
  void (*load_tap_planes)(const TapPlaneTile<Acc>& tile);
  // Sums of one where a group has one channel (cpu/depthwise.h).
  void (*depthwise)(const DepthwiseTile<Acc>& tile);
  // The whole of it, in fp32; else nullptr (cpu/depthwise_pixels.h).
  void (*depthwise_row)(const DepthwiseRow& row);

  // The largest elements of windows (cpu/max_pool.h); of floating numbers only, else nullptr.
  void (*max_pool)(const PoolTile<Acc>& tile);

  // out = epilogue(block); `block` is overwritten. Row r of the block is row `first_row + r` of
  // the epilogue's vectors. False if a value does not fit `out` (int32 only) (cpu/write_out.h).
  bool (*write_out)(Acc* block, std::int64_t block_stride, std::int64_t first_row,
                    std::int64_t first_col, const LoadedEpilogue<Acc>& epilogue,
                    const MatrixView& out);
};

// 2:4 selection and compression of one contiguous row (cpu/compress24.h).
struct Compress24Kernels {
  // mask[c] = 1 for the two largest magnitudes of each four, ties to the lower column.
  void (*prune_row)(const void* row, DType dtype, std::int64_t cols, std::uint8_t* mask);
  // Of those two where `prune`; else returns the first group with more than two nonzeros, or -1.
  std::int64_t (*compress_row)(const void* row, DType dtype, std::int64_t cols, bool prune,
                               void* values, std::uint8_t* metadata);
};

// The nonzeros of one contiguous row (cpu/dense_rows.h).
struct DenseRowKernels {
  std::int64_t (*count_nonzeros)(const void* row, DType dtype, std::int64_t cols);
  // Values and columns (of column_width bytes) in order; returns their number, or -1 where that is
  // larger than `room`. What lies between them and the end of the room is left undefined.
  std::int64_t (*fill_nonzeros)(const void* row, DType dtype, std::int64_t cols, std::int64_t room,
                                void* values, void* columns, int column_width);
};

}  // namespace sparsecore
