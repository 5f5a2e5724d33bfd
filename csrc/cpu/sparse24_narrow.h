// 2:4 times a few columns: y[row][j] = sum of value * x[column], entries in the lanes, straight
// from the canonical layout.
//
// A 128-bit quarter of a vector is a group of four columns of x, and two bits of metadata choose
// one of its four lanes: vpermilps, with the metadata shifted so that each lane's two bits lie
// lowest. A group has two values a row, so two rows fill the four lanes: the vectors of two rows,
// unpacked by 64 bits, hold [row 0's pair, row 1's pair] of every second group, the even ones in
// one, the odd ones in the other. x is copied in that order, once (sparse24_panel).
// For 32 columns of two rows: one load a vector of values and x, two unpacks, two shifts, and for
// each right side two permutations and two multiply-adds; several pairs of rows share the loads of
// x, and give memory several streams to fetch.
// Bytes: values and metadata once, the least there is; flops: 2 * entries * N. Bound by memory
// for one column, by the port that permutes for more.
// Preconditions: x is what sparse24_panel left, zero beyond the last column.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "entries.h"

namespace sparsecore::SPARSECORE_TARGET {

// Columns of A that a word of metadata covers, and entries.
constexpr std::int64_t kStepColumns = 32, kStepEntries = 16;

// So many bytes of values come from memory, by all likelihood. The next rows' are asked for while
// these are used, in the order in which they lie there, into the second-level cache. (Zen 5, 4096 x
// 4096, N = 1: 36 GB/s against 30 by rows alone. From the third-level cache it would be slower.)
constexpr std::int64_t kBytesFromMemory = std::int64_t{32} << 20;

constexpr int narrow24_pairs(int n) { return kVectorBytes == 64 || n <= 4 ? 2 : 1; }

// Groups 0, 2, 4, ... or 1, 3, 5, ... of two neighbouring vectors.
template <class T, int kOdd>
SPARSECORE_INLINE Vec<T> every_second_group(Vec<T> a, Vec<T> b) {
  constexpr int kFrom = 4 * kOdd;
  if constexpr (kLanes<T> == 16) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 1, kFrom + 2, kFrom + 3, kFrom + 8,
                                   kFrom + 9, kFrom + 10, kFrom + 11, kFrom + 16, kFrom + 17,
                                   kFrom + 18, kFrom + 19, kFrom + 24, kFrom + 25, kFrom + 26,
                                   kFrom + 27);
  } else if constexpr (kLanes<T> == 8) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 1, kFrom + 2, kFrom + 3, kFrom + 8,
                                   kFrom + 9, kFrom + 10, kFrom + 11);
  } else {
    return kOdd ? b : a;
  }
}

// panel[j * stride + row] = x[row][j], converted.
template <class Acc>
SPARSECORE_INLINE void load_transposed(const MatrixView& x, Acc* panel, std::int64_t stride) {
  if (x.col_stride != 1 || x.cols == 1) {
    return load_panel({x.data, x.dtype, x.cols, x.rows, x.col_stride, x.row_stride}, panel, stride);
  }
  // Row-major: runs of a few columns are read together, as far as they lie together.
  constexpr std::int64_t kRows = 64;
  alignas(64) Acc runs[kRows * kNarrow24Columns];
  with_storage<Acc>(x.data, x.dtype, [&](auto* data) {
    for (std::int64_t r = 0; r < x.rows; r += kRows) {
      const std::int64_t rows = x.rows - r < kRows ? x.rows - r : kRows;
      if (x.row_stride == x.cols) {
        load_run(data + r * x.cols, 1, rows * x.cols, runs);
      } else {
        for (std::int64_t i = 0; i < rows; ++i) {
          load_run(data + (r + i) * x.row_stride, 1, x.cols, runs + i * x.cols);
        }
      }
      transpose(runs, x.cols, panel + r, stride, rows, x.cols);
    }
  });
}

// panel[j * stride + ...] = column j of X in the kernel's order, zero up to the stride.
template <class Acc>
void sparse24_panel(const MatrixView& x, Acc* panel, std::int64_t stride) {
  constexpr int W = kLanes<Acc>;
  load_transposed(x, panel, stride);
  for (std::int64_t j = 0; j < x.cols; ++j) {
    Acc* const column = panel + j * stride;
    for (std::int64_t i = x.rows; i < stride; ++i) column[i] = 0;
    for (std::int64_t i = 0; i < stride; i += 2 * W) {
      const Vec<Acc> a = load(column + i), b = load(column + i + W);
      store(column + i, every_second_group<Acc, 0>(a, b));
      store(column + i + W, every_second_group<Acc, 1>(a, b));
    }
  }
}

// The pairs of both vectors' even, or odd, groups.
template <class T, int kOdd>
SPARSECORE_INLINE Vec<T> unpack_pairs(Vec<T> a, Vec<T> b) {
  constexpr int W = kLanes<T>, kFrom = 2 * kOdd;
  if constexpr (W == 16) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 1, kFrom + 16, kFrom + 17, kFrom + 4,
                                   kFrom + 5, kFrom + 20, kFrom + 21, kFrom + 8, kFrom + 9,
                                   kFrom + 24, kFrom + 25, kFrom + 12, kFrom + 13, kFrom + 28,
                                   kFrom + 29);
  } else if constexpr (W == 8) {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 1, kFrom + 8, kFrom + 9, kFrom + 4,
                                   kFrom + 5, kFrom + 12, kFrom + 13);
  } else {
    return __builtin_shufflevector(a, b, kFrom, kFrom + 1, kFrom + 4, kFrom + 5);
  }
}

// How far each lane's two bits lie up in a word of metadata: for a part of a step (a vector of a
// row's values), and its even or odd groups.
struct Narrow24Shifts {
  static constexpr int kLanes4 = kLanes<std::uint32_t>;
  alignas(64) std::uint32_t lanes[16 / kLanes4][2][kLanes4];
};

constexpr Narrow24Shifts make_narrow24_shifts() {
  constexpr std::uint32_t W = Narrow24Shifts::kLanes4;
  Narrow24Shifts shifts{};
  for (std::uint32_t part = 0; part < 16 / W; ++part) {
    for (std::uint32_t odd = 0; odd < 2; ++odd) {
      for (std::uint32_t i = 0; i < W; ++i) {
        shifts.lanes[part][odd][i] = 4 * (part * W / 2 + i / 4 * 2 + odd) + i % 2 * 2;
      }
    }
  }
  return shifts;
}

constexpr Narrow24Shifts kNarrow24Shifts = make_narrow24_shifts();

// A vector's sums of row 0 (lanes 0 and 1 of each four) and of row 1.
template <class T>
SPARSECORE_INLINE void reduce_pairs(Vec<T> v, T& row0, T& row1) {
  const Sized<T, 16> q = add_pieces<T>(v);
  row0 = q[0] + q[1];
  row1 = q[2] + q[3];
}

// The entries of a row's last, incomplete step, zeros after them: the padding's slots are left out.
template <class T>
__attribute__((noinline)) void narrow24_rest(const Sparse24View& a, std::int64_t row,
                                             T (&values)[kStepEntries], std::uint32_t& word) {
  const std::int64_t column = a.cols / kStepColumns * kStepColumns;
  const Sparse24Entries entries{a};
  const std::int64_t first = entries.begin(row) + column / 2, end = entries.end(row);
  for (std::int64_t t = 0; t < kStepEntries; ++t) {
    values[t] = first + t < end ? static_cast<const T*>(a.values)[first + t] : T{};
  }
  const std::int64_t bytes = a.metadata_bytes_per_row();
  word = 0;
  for (std::int64_t b = column / 8; b < bytes; ++b) {
    word |= static_cast<std::uint32_t>(a.metadata[row * bytes + b]) << (8 * (b - column / 8));
  }
}

// Two P rows; or one row, taken 2 P times (`single`).
template <class Acc, class T, int N, int P>
SPARSECORE_INLINE void narrow24_rows(const Sparse24View& a, std::int64_t row, bool single,
                                     const SweepTile<Acc>& tile) {
  constexpr int W = kLanes<Acc>, kParts = kStepEntries / W, kRows = 2 * P;
  constexpr std::int64_t kStepBytes = kRows * kStepEntries * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t width = 2 * a.groups(), bytes = a.metadata_bytes_per_row();
  const T* values = static_cast<const T*>(a.values) + row * width;
  const std::uint8_t* words = a.metadata + row * bytes;
  std::int64_t next_values = single ? 0 : width, next_words = single ? 0 : bytes;
  const auto row_bytes = width * static_cast<std::int64_t>(sizeof(T));
  const bool from_memory = a.rows * row_bytes >= kBytesFromMemory;
  // Bytes: the processor alone does not look far enough ahead in every row.
  const std::int64_t in_row = from_memory ? 2048 : 4096;
  const char* next_rows = reinterpret_cast<const char*>(values + kRows * next_values);
  T rest[kRows][kStepEntries];
  std::uint32_t rest_words[kRows];
  Vec<Acc> sum[P][N] = {};
  for (std::int64_t c = 0; c < a.cols; c += kStepColumns) {
    if (c + kStepColumns > a.cols) {
      for (int i = 0; i < kRows; ++i) {
        narrow24_rest(a, row + (single ? 0 : i), rest[i], rest_words[i]);
      }
      values = rest[0];
      words = reinterpret_cast<const std::uint8_t*>(rest_words);
      next_values = kStepEntries;
      next_words = 4;
    }
    // A row's end is followed by the row after these.
    const std::int64_t done = c / 2 * static_cast<std::int64_t>(sizeof(T));
    const char* ahead = reinterpret_cast<const char*>(values) + in_row +
                        (done + in_row < row_bytes ? 0 : (kRows - 1) * row_bytes);
    if (c % 512 == 0) {  // a line of metadata
      for (int i = 0; i < kRows; ++i) __builtin_prefetch(words + (kRows + i) * next_words);
    }
    std::uint32_t word[kRows];
    for (int i = 0; i < kRows; ++i) {
      if (from_memory && i * 64 < kStepBytes) __builtin_prefetch(next_rows + i * 64, 0, 2);
      __builtin_prefetch(ahead + i * next_values * static_cast<std::int64_t>(sizeof(T)));
      __builtin_memcpy(&word[i], words + i * next_words, 4);
    }
    for (int part = 0; part < kParts; ++part) {
      Vec<Acc> value[P][2];
      Vec<std::uint32_t> place[P][2];
      for (int p = 0; p < P; ++p) {
        const T* const from = values + 2 * p * next_values + part * W;
        const Vec<Acc> v0 = load_widened<Acc>(from), v1 = load_widened<Acc>(from + next_values);
        const Vec<std::uint32_t> both = alternate_pairs(word[2 * p], word[2 * p + 1]);
        value[p][0] = unpack_pairs<Acc, 0>(v0, v1);
        value[p][1] = unpack_pairs<Acc, 1>(v0, v1);
        place[p][0] = both >> load(kNarrow24Shifts.lanes[part][0]);
        place[p][1] = both >> load(kNarrow24Shifts.lanes[part][1]);
      }
      for (int n = 0; n < N; ++n) {
        const Acc* x = tile.x + n * tile.x_stride + c + 2 * part * W;
        for (int half = 0; half < 2; ++half) {
          const Vec<Acc> group = load(x + half * W);
          for (int p = 0; p < P; ++p) {
            sum[p][n] = fma<Acc>(value[p][half], permute_quads(group, place[p][half]), sum[p][n]);
          }
        }
      }
    }
    values += kStepEntries;
    next_rows += kStepBytes;
    words += 4;
  }
  Acc* y = tile.y + (row - tile.row_begin) * tile.y_stride;
  for (int p = 0; p < P; ++p, y += 2 * tile.y_stride) {
    for (int n = 0; n < N; ++n) {
      Acc row0, row1;
      reduce_pairs<Acc>(sum[p][n], row0, row1);
      y[n] = row0;
      if (!single) y[tile.y_stride + n] = row1;
    }
    if (single) break;
  }
}

// The last rows that do not fill the pairs are done with some before them, once more: each sum is
// the same wherever its row stands.
template <class Acc, class T, int N>
void narrow24_tile(const Sparse24View& a, const SweepTile<Acc>& tile) {
  constexpr std::int64_t P = narrow24_pairs(N);
  const bool single = tile.row_end - tile.row_begin < 2 * P;
  for (std::int64_t row = tile.row_begin; row < tile.row_end; row += single ? 1 : 2 * P) {
    const std::int64_t last = tile.row_end - 2 * P;
    narrow24_rows<Acc, T, N, P>(a, single || row < last ? row : last, single, tile);
  }
}

template <class Acc, class T>
SPARSECORE_INLINE void narrow24_width(const Sparse24View& a, const SweepTile<Acc>& tile) {
  switch (tile.n) {
    case 1:
      return narrow24_tile<Acc, T, 1>(a, tile);
    case 2:
      return narrow24_tile<Acc, T, 2>(a, tile);
    case 3:
      return narrow24_tile<Acc, T, 3>(a, tile);
    case 4:
      return narrow24_tile<Acc, T, 4>(a, tile);
    case 5:
      return narrow24_tile<Acc, T, 5>(a, tile);
    case 6:
      return narrow24_tile<Acc, T, 6>(a, tile);
    case 7:
      return narrow24_tile<Acc, T, 7>(a, tile);
    default:
      assert(tile.n == kNarrow24Columns);
      return narrow24_tile<Acc, T, 8>(a, tile);
  }
}

// For sums of four bytes, where the target permutes lanes by variable.
template <class Acc>
void sparse24_narrow(const Sparse24View& a, const SweepTile<Acc>& tile) {
  if constexpr (__is_same(Acc, std::int32_t)) {
    assert(a.dtype == DType::kInt8);
    narrow24_width<Acc, std::int8_t>(a, tile);
  } else {
    switch (a.dtype) {
      case DType::kFloat16:
        return narrow24_width<Acc, Half>(a, tile);
      case DType::kBFloat16:
        return narrow24_width<Acc, BFloat16>(a, tile);
      case DType::kInt8:
        return narrow24_width<Acc, std::int8_t>(a, tile);
      default:
        return narrow24_width<Acc, float>(a, tile);
    }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
