// D = (U V^T) at the positions of A, by rows of A. A warp, or a part of one, takes a piece of a row
// (pieces.h), and so one row of U.
//
// Wide (n > 8): lanes hold neighbouring columns of U and V. Four entries at a time share what is
// read of U; each costs one load of V for every 16 bytes: 2 flops for every item of V that the L1
// delivers, which bounds it, as it does the product (spmm.cu). The four sums are added up over the
// lanes together, each step handing half of them over: 6 shuffles in a warp instead of 20.
// Narrow (n <= 8): lanes hold entries.
//
// U or V that is not row-major is copied first where it is wide.
#include "scalars.h"
#include "sddmm.h"
#include "segments.h"
#include "tile_copy.h"

namespace sparsecore::cuda {
namespace {

constexpr int kEntries = 4;  // taken at once

// The sum of sums[e] over the lanes of a segment, for the e that entry_of names.
template <int kLanes, class Acc>
__device__ __forceinline__ Acc added_up(Acc (&sums)[kEntries], int lane, unsigned segment) {
  int half = kLanes / 2;
#pragma unroll
  for (int kept = kEntries / 2; kept > 0; kept /= 2, half /= 2) {
    const bool is_upper = (lane & half) != 0;
#pragma unroll
    for (int e = 0; e < kept; ++e) {
      const Acc handed = is_upper ? sums[e] : sums[e + kept];
      const Acc own = is_upper ? sums[e + kept] : sums[e];
      sums[e] = own + __shfl_xor_sync(segment, handed, half, kLanes);
    }
  }
#pragma unroll
  for (; half > 0; half /= 2) sums[0] += __shfl_xor_sync(segment, sums[0], half, kLanes);
  return sums[0];
}

// Which of the entries is a lane's; the lanes of one entry are neighbours, kLanes / kEntries of
// them.
template <int kLanes>
__device__ __forceinline__ int entry_of(int lane) {
  return lane / (kLanes / kEntries);
}

// One segment of kLanes lanes a piece, kVector columns a lane at a time.
template <class X, int kLanes, int kVector>
__global__ void __launch_bounds__(kPieceThreads)
    wide_dots(CsrView a, Pieces pieces, MatrixView u, MatrixView v, OutOf<X>* d) {
  using Acc = AccOf<X>;
  using Xs = Vector<X, kVector>;
  const unsigned segment = lanes_of_segment<kLanes>();
  const int lane = lane_of<kLanes>();
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = piece_at(pieces, a.offsets, i);
  const X* const left = static_cast<const X*>(u.data) + piece.row * u.row_stride;
  for (std::int64_t p = piece.begin; p < piece.end; p += kEntries) {
    const X* right[kEntries];
#pragma unroll
    for (int e = 0; e < kEntries; ++e) {  // past the end, the last one again
      const std::int64_t entry = p + e < piece.end ? p + e : piece.end - 1;
      right[e] = static_cast<const X*>(v.data) + a.columns[entry] * v.row_stride;
    }
    Acc sums[kEntries] = {};
    for (std::int64_t column = lane * kVector; column < u.cols; column += kLanes * kVector) {
      const Xs us = *reinterpret_cast<const Xs*>(left + column);
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        const Xs vs = *reinterpret_cast<const Xs*>(right[e] + column);
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          sums[e] += widened<Acc>(us.items[j]) * widened<Acc>(vs.items[j]);
        }
      }
    }
    const Acc sum = added_up<kLanes>(sums, lane, segment);
    const std::int64_t entry = p + entry_of<kLanes>(lane);
    if (lane % (kLanes / kEntries) == 0 && entry < piece.end) store(d + entry, sum);
  }
}

// An entry a lane; one segment of kLanes lanes a piece. Any strides.
template <class X, int kLanes>
__global__ void __launch_bounds__(kPieceThreads)
    narrow_dots(CsrView a, Pieces pieces, MatrixView u, MatrixView v, OutOf<X>* d) {
  using Acc = AccOf<X>;
  const int lane = lane_of<kLanes>();
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = piece_at(pieces, a.offsets, i);
  const X* const left = static_cast<const X*>(u.data) + piece.row * u.row_stride;
  for (std::int64_t p = piece.begin + lane; p < piece.end; p += kLanes) {
    const X* const right = static_cast<const X*>(v.data) + a.columns[p] * v.row_stride;
    Acc sum{};
    for (std::int64_t j = 0; j < u.cols; ++j) {
      sum += widened<Acc>(left[j * u.col_stride]) * widened<Acc>(right[j * v.col_stride]);
    }
    store(d + p, sum);
  }
}

template <class X, int kVector>
void wide(const CsrView& a, const Pieces& pieces, const MatrixView& u, const MatrixView& v,
          OutOf<X>* d, Stream stream) {
  const auto start = [&](auto kernel, const Grid& grid) {
    launch("csr_sddmm", kernel, grid, stream, a, pieces, u, v, d);
  };
  if (u.cols <= 8 * kVector) {
    start(wide_dots<X, 8, kVector>, grid_of<8>(pieces));
  } else if (u.cols <= 16 * kVector) {
    start(wide_dots<X, 16, kVector>, grid_of<16>(pieces));
  } else {
    start(wide_dots<X, 32, kVector>, grid_of<32>(pieces));
  }
}

template <class X>
void sampled(const CsrView& a, const Pieces& pieces, MatrixView u, MatrixView v, void* d,
             Memory& memory, Stream stream) {
  constexpr int kVector = 16 / sizeof(X);
  constexpr std::int64_t kNarrow = 8;
  auto* const out = static_cast<OutOf<X>*>(d);
  if (a.nnz() == 0) return;
  if (u.cols <= kNarrow) {
    const auto start = [&](auto kernel, const Grid& grid) {
      launch("csr_sddmm", kernel, grid, stream, a, pieces, u, v, out);
    };
    if (are_very_short(pieces, a.nnz())) {
      start(narrow_dots<X, kTwoLanes>, grid_of<kTwoLanes>(pieces));
    } else if (are_short(pieces, a.nnz())) {
      start(narrow_dots<X, kFewLanes>, grid_of<kFewLanes>(pieces));
    } else {
      start(narrow_dots<X, kWarp>, grid_of<kWarp>(pieces));
    }
    return;
  }
  if (u.col_stride != 1) u = row_major_copy(u, memory, stream);
  if (v.col_stride != 1) v = row_major_copy(v, memory, stream);
  if (is_aligned(u, kVector) && is_aligned(v, kVector)) {
    wide<X, kVector>(a, pieces, u, v, out, stream);
  } else {
    wide<X, 1>(a, pieces, u, v, out, stream);
  }
}

}  // namespace

void csr_sampled_product(const CsrView& a, const Pieces& pieces, const MatrixView& u,
                         const MatrixView& v, void* d, Memory& memory, Stream stream) {
  with_operand_type(
      u.dtype, [&](auto zero) { sampled<decltype(zero)>(a, pieces, u, v, d, memory, stream); });
}

}  // namespace sparsecore::cuda
