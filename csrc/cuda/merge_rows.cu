// Y = A X for a few columns by shares of the merge path (merge_path.h): however long rows are, each
// thread has as many steps to take.
//
// A block multiplies the entries of its share, coalesced, and keeps the products with up to four
// columns in shared memory; its threads go along their parts of the path and add up, each the rows
// that end there and what is left after the last. What is left is added to the row's end over the
// threads, and what a block has left, or of a row that began before it, over the blocks by a second
// kernel. Every sum is taken in an order that the pattern decides.
//
// Bytes: A is read once (for more than four columns twice, the second time near the processor),
// nnz / m loads of X for each item of Y, 2 n sums a share.
#include "found.h"
#include "merge_path.h"
#include "merge_rows.h"
#include "scalars.h"
#include "warp_scan.h"
#include "write_out.h"

namespace sparsecore::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp, kBlocks = 8;  // of a multiprocessor
// Steps a thread: an odd number, so that threads' next products lie in different banks.
constexpr int kSteps = 7, kSize = kThreads * kSteps;

// What shares leave to others, n sums each.
template <class Acc>
struct Left {
  Acc *heads, *tails;   // of a row that began before, up to its end; of one that has not ended yet
  std::int64_t* ended;  // the row of `heads`; -1: there is none
};

// By a warp: 32 numbers of rows are tried at once.
__device__ __forceinline__ MergePoint merge_point(const RowEnds& ends, std::int64_t entries,
                                                  std::int64_t diagonal) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  RowRange<std::int64_t> range = rows_at(diagonal, ends.rows(), entries);
  while (range.low < range.high) {
    const std::int64_t count = range.high - range.low;
    const std::int64_t row = range.low + (count * lane) / kWarp;
    const int before = __popc(__ballot_sync(~0u, has_ended(row, ends[row], diagonal)));
    const std::int64_t last = __shfl_sync(~0u, row, before > 0 ? before - 1 : 0);
    const std::int64_t next = __shfl_sync(~0u, row, before < kWarp ? before : 0);
    range.high = before < kWarp ? next : range.high;
    range.low = before > 0 ? last + 1 : range.low;
  }
  return {range.low, diagonal - range.low};
}

// A share: where it begins, how many entries it has, and rows that end in it.
struct Share {
  MergePoint begin;
  int rows, entries;
};
__device__ __forceinline__ Share share_of(const MergePoint& begin, const MergePoint& end) {
  return {begin, static_cast<int>(end.row - begin.row), static_cast<int>(end.entry - begin.entry)};
}

// The block's memory for it.
template <class Acc, int kColumns>
struct Shared {
  Acc items[kColumns][kSize];  // a product an entry, then a sum for each row that ends here
  int ends[kSize];             // of those rows, from the first entry on
  MergePoint begin, end;
  // Of each warp: the rows at its first and last thread's end, and what that has left.
  int first_row[kWarps], last_row[kWarps];
  Acc last[kColumns][kWarps];
};

// The entries' products with columns `first` ... first + columns - 1.
template <class X, int kColumns>
__device__ __forceinline__ void multiply(Shared<AccOf<X>, kColumns>& shared, const Share& share,
                                         const CsrView& a, const MatrixView& x, std::int64_t first,
                                         int columns) {
  using Acc = AccOf<X>;
  const X* const data = static_cast<const X*>(x.data) + first * x.col_stride;
#pragma unroll 2
  for (int e = static_cast<int>(threadIdx.x); e < share.entries; e += kThreads) {
    const std::int64_t p = share.begin.entry + e;
    const Acc value = load_as<Acc>(a.values, a.dtype, p);
    const X* const row = data + a.columns[p] * x.row_stride;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      shared.items[j][e] = j < columns ? value * widened<Acc>(row[j * x.col_stride]) : Acc{};
    }
  }
}

// Takes a thread's steps; returns the row after the last that ends in them, counted from the
// share's first, whose sums so far are left in `sums`.
template <class Acc, int kColumns>
__device__ __forceinline__ int walk(Shared<Acc, kColumns>& shared, const Share& share,
                                    Acc (&sums)[kColumns]) {
  const int rows = share.rows, entries = share.entries, all = rows + entries;
  const int from = static_cast<int>(threadIdx.x) * kSteps, at = from < all ? from : all;
  const int to = at + kSteps < all ? at + kSteps : all;
  int row = rows_before(shared.ends, rows_at(at, rows, entries), at);
  int entry = at - row;
#pragma unroll 1
  for (int step = at; step < to; ++step) {
    const bool is_end = row < rows && shared.ends[row] <= entry;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if (is_end) {
        shared.items[j][entries + row] = sums[j];
        sums[j] = Acc{};
      } else {
        sums[j] += shared.items[j][entry];
      }
    }
    row += is_end ? 1 : 0;
    entry += is_end ? 0 : 1;
  }
  return row;
}

// Adds up what neighbouring threads of a warp have left of the same row: the last has it all.
template <class Acc, int kColumns>
__device__ __forceinline__ void add_in_warp(int row, Acc (&sums)[kColumns]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int lanes = 1; lanes < kWarp; lanes *= 2) {
    const auto up = static_cast<unsigned>(lanes);
    const bool is_same = __shfl_up_sync(~0u, row, up) == row && lane >= lanes;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const Acc other = __shfl_up_sync(~0u, sums[j], up);
      if (is_same) sums[j] += other;
    }
  }
}

// Adds what threads have left to the rows' sums, by the last thread that has some of the row.
template <class Acc, int kColumns>
__device__ __forceinline__ void add_left(Shared<Acc, kColumns>& shared, const Share& share, int row,
                                         Acc (&sums)[kColumns], Acc* tail, int columns) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
  add_in_warp(row, sums);
  if (lane == 0) shared.first_row[warp] = row;
  if (lane == kWarp - 1) {
    shared.last_row[warp] = row;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) shared.last[j][warp] = sums[j];
  }
  __syncthreads();
  int next = __shfl_down_sync(~0u, row, 1);
  if (lane == kWarp - 1) next = warp + 1 < kWarps ? shared.first_row[warp + 1] : row + 1;
  if (next == row) return;
  if (shared.first_row[warp] == row) {
    for (int w = warp - 1; w >= 0 && shared.last_row[w] == row; --w) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) sums[j] += shared.last[j][w];
    }
  }
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    if (row < share.rows) {
      shared.items[j][share.entries + row] += sums[j];
    } else if (j < columns) {
      tail[j] = sums[j];
    }
  }
}

// Finishes the rows that end in the share and began there, and hands over the one that did not.
template <class X, int kColumns>
__device__ __forceinline__ void finish(const Shared<AccOf<X>, kColumns>& shared, const Share& share,
                                       bool is_begun, std::int64_t first_column, int columns,
                                       const Epilogue& epilogue, const MatrixView& out,
                                       AccOf<X>* head) {
  const bool by_columns = out.row_stride < out.col_stride;
  const int rows = share.rows;
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns; i += kThreads) {
    const int r = by_columns ? i % rows : i / columns, j = by_columns ? i / rows : i % columns;
    const AccOf<X> sum = shared.items[j][share.entries + r];
    if (r == 0 && is_begun) {
      head[j] = sum;
      continue;
    }
    const std::int64_t row = share.begin.row + r, column = first_column + j;
    const RowEnd<AccOf<X>, OutOf<X>> end(epilogue, row);
    store(static_cast<OutOf<X>*>(out.data) + row * out.row_stride + column * out.col_stride,
          end.finished(sum, column));
  }
}

template <class X, int kColumns>
__global__ void __launch_bounds__(kThreads, kBlocks)
    merge_rows(CsrView a, MatrixView x, Epilogue epilogue, MatrixView out, Left<AccOf<X>> left) {
  using Acc = AccOf<X>;
  __shared__ Shared<Acc, kColumns> shared;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t block = blockIdx.x, all = a.rows + a.nnz();
  if (warp < 2) {
    const std::int64_t diagonal = (block + warp) * kSize;
    const MergePoint point =
        merge_point(RowEnds{a.offsets}, a.nnz(), diagonal < all ? diagonal : all);
    if (threadIdx.x % kWarp == 0) (warp == 0 ? shared.begin : shared.end) = point;
  }
  __syncthreads();
  const Share share = share_of(shared.begin, shared.end);
  const std::int64_t first = share.begin.row;
  const bool is_begun = first < a.rows && share.begin.entry > a.offsets[first];
  if (threadIdx.x == 0) left.ended[block] = is_begun && share.rows > 0 ? first : -1;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < share.rows; i += kThreads) {
    shared.ends[i] = static_cast<int>(a.offsets[first + i + 1] - share.begin.entry);
  }
#pragma unroll 1
  for (std::int64_t c = 0; c < x.cols; c += kColumns) {
    const int columns = x.cols - c < kColumns ? static_cast<int>(x.cols - c) : kColumns;
    multiply<X>(shared, share, a, x, c, columns);
    __syncthreads();
    Acc sums[kColumns] = {};
    const int row = walk(shared, share, sums);
    add_left(shared, share, row, sums, left.tails + block * x.cols + c, columns);
    __syncthreads();
    finish<X>(shared, share, is_begun, c, columns, epilogue, out, left.heads + block * x.cols + c);
    __syncthreads();
  }
}

// Finishes the rows that lie in several shares, a warp each.
template <class X>
__global__ void __launch_bounds__(kThreads)
    add_shares(CsrView a, std::int64_t shares, std::int64_t size, std::int64_t columns,
               Epilogue epilogue, MatrixView out, Left<AccOf<X>> left) {
  using Acc = AccOf<X>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t last =
      std::int64_t{blockIdx.x} * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (last >= shares) return;
  const std::int64_t row = left.ended[last];
  if (row < 0) return;
  const std::int64_t first = share_of_row(row, a.offsets[row], size);
  const RowEnd<Acc, OutOf<X>> end(epilogue, row);
  for (std::int64_t j = 0; j < columns; ++j) {
    Acc sum{};
#pragma unroll 4
    for (std::int64_t s = first + lane; s < last; s += kWarp) sum += left.tails[s * columns + j];
#pragma unroll
    for (int half = kWarp / 2; half > 0; half /= 2) sum += __shfl_xor_sync(~0u, sum, half);
    if (lane != 0) continue;
    store(static_cast<OutOf<X>*>(out.data) + row * out.row_stride + j * out.col_stride,
          end.finished(sum + left.heads[last * columns + j], j));
  }
}

template <class X, int kColumns>
void run(const CsrView& a, const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
         Memory& memory, Stream stream) {
  using Acc = AccOf<X>;
  const std::int64_t shares = blocks_for(a.rows + a.nnz(), kSize), sums = shares * x.cols;
  auto* const left_sums = memory.take_items<Acc>(2 * sums);
  const Left<Acc> left{left_sums, left_sums + sums, memory.take_items<std::int64_t>(shares)};
  launch("csr_matmul", merge_rows<X, kColumns>, {shares, 1, kThreads}, stream, a, x, epilogue, out,
         left);
  launch("csr_matmul", add_shares<X>, {blocks_for(shares, kWarps), 1, kThreads}, stream, a, shares,
         kSize, x.cols, epilogue, out, left);
}

}  // namespace

void merge_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                   const MatrixView& out, Memory& memory, Stream stream) {
  if (x.cols == 0) return;
  with_operand_type(x.dtype, [&](auto zero) {
    using X = decltype(zero);
    if (x.cols == 1) return run<X, 1>(a, x, epilogue, out, memory, stream);
    run<X, 4>(a, x, epilogue, out, memory, stream);
  });
}

}  // namespace sparsecore::cuda
