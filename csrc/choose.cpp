#include "choose.h"

#include <algorithm>

#include "blocked_rows.h"
#include "dispatch.h"

namespace sparsecore {
namespace {

// |-128 * -128| * 131071 < 2^31 <= |-128 * -128| * 131072.
constexpr std::int64_t kLongestInt32Sum = 131071;

// How often each row of X is used on average before a copy of it pays. A wide X costs pages and
// cache sets; an unaligned one splits every vector load over two cache lines.
constexpr std::int64_t kReuseOfWide = 32;
constexpr std::int64_t kReuseOfUnaligned = 8;
constexpr std::int64_t kReuseOfPanel = 5;
constexpr std::int64_t kLeastRowsInPlace = 16;
constexpr std::int64_t kReuseOfCopy = 8;  // where a kernel reads nothing but copies
constexpr std::int64_t kEntriesOfPackedRow = 64;
constexpr std::int64_t kEntriesOfMediumRow = 40;
constexpr std::int64_t kLanesThatPayToBlock = 16;

constexpr std::int64_t kBlockBytes = std::int64_t{32} << 10;
constexpr double kEntriesOfBlockRow = 8;
constexpr double kEntriesOfNarrowBlockRow = 16;

constexpr std::int64_t kEntriesOfPermutedRow = 8;
constexpr std::int64_t kLeastPermutedRows = 64;    // four groups
constexpr std::int64_t kEntriesInCache = 1 << 18;  // of about 9 bytes, in 2 MB

constexpr std::int64_t kCacheLine = 64;

// Whether a product has at most two vectors of right-hand columns, and how many is known.
bool is_narrow(std::int64_t columns) {
  return columns > 0 && columns <= 2 * kernels<float>().lanes;
}

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
  if (values == x) return x != DType::kInt32 && !is_float8(x);
  if (values == DType::kInt8) return is_floating(x);
  if (is_float8(values)) {
    return x == DType::kFloat32 || x == DType::kFloat16 || x == DType::kBFloat16;
  }
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

// (Whole products, AVX-512, in us, copied and as it lies, by how often a row of X is used. N = 32:
// 1.0 times 5.1, 3.3; 2.6 times 2.6, 2.3; 5.1 times 10.5, 11.5; 10.2 times 4.6, 5.8. N = 8: 3.2
// times 0.83, 0.63; 5.1 times 4.0, 3.8; 10.2 times 6.0, 6.7.)
bool pays_to_align(const MatrixView& x, std::int64_t entries) {
  const std::int64_t row_bytes = x.row_stride * item_size(x.dtype);
  const std::int64_t alignment = std::clamp<std::int64_t>(row_bytes, 1, kCacheLine);
  return reinterpret_cast<std::uintptr_t>(x.data) % static_cast<std::uintptr_t>(alignment) != 0 &&
         entries / kReuseOfPanel >= x.rows;
}

// Up to two vectors of columns, what a short row costs at its end packed ones do not. So they pay
// where X and the result stay as they are: rows of X are panels, one column block holds all of
// them, and rows of the result fill groups, but for a handful (512 x 512 with AVX-512, gain over
// the row sweep: 1310 entries N = 8 1.4, N = 32 1.3; 5242 entries 1.5, 1.3). Else X is copied, and
// each of its rows must be used often enough. (1024 x 1024, 98 %, one core, 64-byte vectors, GF,
// packed against row sweep: N = 8 34, 24; N = 16 46, 35; N = 32 63, 53. 128 x 1152 with 13 entries
// a column: N = 8 35, 26; N = 32 59, 65.) Beyond, sums are read and written once a column block, so
// rows must have entries enough. (With 51 entries a row packing loses 10 % for 64 and 128 columns;
// with 102 it gains 20 %. Zen 5: with 51 it gains 5 to 25 %, with 20 it loses 15 %.)
//
// Where right-hand columns are rows of X and of the result, both kernels copy X, but only the
// packed one writes the result in pieces that stay in the cache: it was the faster one, or as fast,
// at 64 x 64 to 3072 x 768, 50 to 99 %, N = 8 to 512 (1.1 to 1.8 times from 95 % on; with AVX2 up
// to 1.5).
bool pays_to_pack(std::int64_t rows, std::int64_t cols, std::int64_t nnz, std::int64_t columns,
                  bool by_rows) {
  if (columns == 0 || columns == 1 || nnz == 0) return false;
  if (by_rows) return true;
  const std::int64_t lanes = kernels<float>().lanes;
  if (is_narrow(columns)) {
    const bool in_place = block_width(columns, lanes) == columns &&
                          block_columns(rows, cols, nnz, columns) >= cols &&
                          rows % kGroupRows == 0 && rows >= kLeastRowsInPlace;
    return in_place || nnz / (4 + columns / 8) >= cols;
  }
  const bool is_medium = columns > 0 && columns <= 4 * lanes;
  const std::int64_t least = lanes >= kLanesThatPayToBlock && (is_medium || picks_from_registers())
                                 ? kEntriesOfMediumRow
                                 : kEntriesOfPackedRow;
  return nnz / kReuseOfCopy >= cols && nnz / least >= rows;
}

// AMD's gathers take longer than the loads that they consist of: on Zen 5 1.5 to 1.8 times, where
// Intel's Xeons take 0.75 times as long (docs/adr/0011).
Gathers best_gathers() {
  return processor_maker() == Maker::kAmd ? Gathers::kSingleLoads : Gathers::kInstruction;
}

// Picking takes a shuffle an entry. Some processors shuffle in one of the units that multiply
// 64-byte vectors, others beside them. (1024 x 1024, N = 128, 50, 70, 80 and 90 %, in GF, with and
// without: Zen 5 160, 156, 146, 121 and 142, 134, 127, 107; a Xeon 128, 113, 101, 80 and 135, 118,
// 102, 79.)
bool picks_from_registers() { return processor_maker() == Maker::kAmd; }

// (1024 x 1024 in the first-level cache, in GOP/s at 50, 70, 80, 90 and 95 %, against entries by
// themselves: four at a time 292, 209, 175, 142, 119 against 71, 67, 64, 58, 52; with AVX2, two at
// a time, 74, 65, 60, 54, 48 against 47, 46, 47, 43, 39.)
int combined_width(DType values, DType x, DType accumulator) {
  if (values != DType::kInt8 || x != DType::kInt8 || accumulator != DType::kInt32) return 0;
  const int widest = kernels<std::int32_t>().combined.widest;
  return widest == 4 && !has_avx512_vnni() ? 2 : widest;
}

// Packing costs 0.6 to 1.5 ns an entry. What a column gains is the larger the more entries a row
// has. (Zen 5, GF, packed in the call against row sweep. 4096 x 1024: N = 64 50 % 76, 44, 80 % 67,
// 56, 90 % 53, 80; N = 128 104, 48, 88, 62, 69, 87; N = 512 139, 44, 118, 56, 92, 67. With 32-byte
// vectors the row sweep is slower still.)
bool pays_to_pack_once(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                       std::int64_t columns) {
  constexpr std::int64_t kLeastColumns = 64, kEntriesTimesColumns = 16000;
  return kernels<float>().lanes >= 8 && columns >= kLeastColumns &&
         nnz / std::max<std::int64_t>(rows, 1) * columns >= kEntriesTimesColumns &&
         pays_to_pack(rows, cols, nnz, columns);
}

// The block's part of X, a tile of columns wide, is 32 KB. Where a row has few entries in so many
// columns, reading and writing its sums for each block costs more than the second-level cache does.
// (1024 x 1024, N = 32, GF by blocks of 32, 64, 128 KB: 80 % 93, 86, 81; 95 % 70, 69, 75; 98 % 46,
// 51, 63. N = 128, to 256 KB: 90 % 88, 83, 72, 74.) For few columns, all of a small X in one block
// can be read where it is.
std::int64_t block_columns(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                           std::int64_t columns) {
  const double density = static_cast<double>(nnz) /
                         std::max(1.0, static_cast<double>(rows) * static_cast<double>(cols));
  const Kernels<float>& k = kernels<float>();
  const bool narrow = is_narrow(columns);
  const std::int64_t row_bytes =
      (narrow ? block_width(columns, k.lanes) : k.block_vectors * k.lanes) *
      std::int64_t{sizeof(float)};
  const std::int64_t most = narrow ? kMostPackedColumns : kMaxBlockColumns;
  const double least_entries = narrow ? kEntriesOfNarrowBlockRow : kEntriesOfBlockRow;
  std::int64_t width = std::clamp<std::int64_t>(kBlockBytes / row_bytes / 128 * 128, 128, most);
  const bool is_short = density * static_cast<double>(width) < least_entries;
  if (narrow && cols * row_bytes <= (is_short ? 8 : 2) * kBlockBytes) {
    width = std::clamp<std::int64_t>(cols, 1, most);
  }
  while (width < most && density * static_cast<double>(width) < least_entries) width *= 2;
  return std::clamp<std::int64_t>(width, 1, std::max<std::int64_t>(cols, 1));
}

// Rows of taps lie at whole vectors from each other, or loads would cross lines. (Zen 5, one layer,
// 3 x 3, time by patches / by planes, 50 and 90 %: 16 channels of 32 x 32 1.3 and 1.5, 64 of 32 x
// 32 1.1 and 1.2, 128 of 16 x 16 1.06 and 1.17; 64 of 56 x 56 0.84 and 0.96, with rows of 64 pixels
// 0.85 and 1.0; 128 of 28 x 28 0.7 and 0.8.)
bool pays_to_make_planes(std::int64_t taps, double copied, std::int64_t width, std::int64_t lanes) {
  constexpr double kMostCopied = 0.8;
  return width > 0 && width % lanes == 0 && copied < kMostCopied * static_cast<double>(taps);
}

// Where a channel serves many outputs, packed products use each patch for all of them. Long strides
// and spans would make planes of what no tap meets.
bool pays_to_sum_taps(const ConvGeometry& geometry, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t kMostMultiplier = 4, kLongestStride = 4, kLongestSpan = 128;
  const bool is_compact = std::max(geometry.stride[0], geometry.stride[1]) <= kLongestStride &&
                          std::max(geometry.span(0), geometry.span(1)) <= kLongestSpan;
  return cols == geometry.taps() && cols > 1 && cols <= kMostDepthwiseTaps && is_compact &&
         rows > 0 && rows / geometry.groups <= kMostMultiplier;
}

// A transpose costs 3 ns an entry, as much as 40 columns of a scattered product, which then takes
// 2.5 times as long as a swept one (1024 x 1024, 50-98 %).
bool pays_to_transpose(std::int64_t nnz, std::int64_t columns) {
  return columns >= 128 && nnz >= 4096;
}

// One column: rows in lanes beat the row sweep (fp32, 50 to 98 %, call included: 1.1 to 2.7 times;
// fp64, which is gathered, 1.0 to 1.3; docs/adr/0011), given lanes to fill and more entries than X
// has elements to copy. Up to four: where registers are looked up in, as fetching X once more
// costs two cycles for sixteen entries; a gather costs ten, and then packing is as fast. (1024 x
// 1024, GF, permuted against packed: N = 4 90 % 24, 24, 95 % 17, 21; N = 3 98 % 8, 10; N = 2 98 %
// 7, 7. In wide windows, Zen 5, us: N = 4 95 % 21, 16; N = 3 98 % 13, 11; N = 2 98 % 7.6, 11.4.)
bool pays_to_permute(std::int64_t rows, std::int64_t cols, std::int64_t nnz, std::int64_t columns,
                     DType dtype, bool permutes) {
  const ChunkForm form = chunk_form(rows, cols, nnz, dtype, permutes);
  const bool is_sparse =
      static_cast<double>(nnz) < 0.08 * static_cast<double>(rows) * static_cast<double>(cols);
  return columns >= 1 &&
         columns <= (form == ChunkForm::kGathered ? 1
                     : is_sparse                  ? 2
                                                  : 4) &&
         rows >= kLeastPermutedRows && nnz / kEntriesOfPermutedRow >= rows &&
         nnz / kReuseOfCopy >= cols && cols <= kMostPermutedColumns;
}

// Permuted windows are padded the more the fewer entries they have: 1.4 slots an entry at density
// 0.1, 1.9 at 0.05, where they are still the faster form as long as what is read stays in the
// second-level cache; from memory the gathered form's fewer bytes count (4096 x 4096, 95 %, Xeon:
// 190 us against 285).
// Where gathers are slow, the wide windows take their place: 1.15, 1.35, 2.0 slots an entry at 0.1,
// 0.05, 0.02, a step of them 1.5 times as long. (Zen 5, in us, 64, 128, gathered. 1024 x 1024: 85 %
// 10.8, 11.6, 26.7; 90 % 7.8, 7.8, 18.3; 98 % 4.0, 3.0, 4.0; 99 % 4.0, 2.5, 2.4. 4096 x 4096: 80 %
// 611, 559, 641; 90 % 310, 223, 279; 98 % 110, 53, 58. 2048 x 2048, 99 %: 20, 9.9, 8.4.)
ChunkForm chunk_form(std::int64_t rows, std::int64_t cols, std::int64_t nnz, DType dtype,
                     bool permutes) {
  const double cells = static_cast<double>(rows) * static_cast<double>(cols);
  const double density = static_cast<double>(nnz) / std::max(cells, 1.0);
  const bool is_in_cache = nnz <= kEntriesInCache;
  if (!permutes || dtype == DType::kFloat64) return ChunkForm::kGathered;
  if (best_gathers() == Gathers::kInstruction) {
    return density >= (is_in_cache ? 0.04 : 0.08) ? ChunkForm::kPermuted : ChunkForm::kGathered;
  }
  if (density >= (is_in_cache ? 0.1 : 0.2)) return ChunkForm::kPermuted;
  return density >= 0.015 ? ChunkForm::kPermutedWide : ChunkForm::kGathered;
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
