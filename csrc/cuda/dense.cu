// Dense to CSR in two passes over the matrix (docs/adr/0022-the-cuda-side.md says why not one), a
// warp for each segment of a row: nonzeros are counted, the counts of all segments summed to where
// each one's begin, in row-major order, and then written. Lanes hold 16 bytes of neighbouring
// columns each where rows begin at multiples of that, else one item. A matrix that is not row-major
// is copied first, by tiles (tile_copy.h).
//
// Bytes: 2 b an element of b bytes, and b + w a nonzero with columns of width w.
#include "dense.h"
#include "found.h"
#include "piece_lanes.h"
#include "row_pieces.h"
#include "scalars.h"
#include "scan.h"
#include "tile_copy.h"

namespace sparsecore::cuda {
namespace {

constexpr int kThreads = 128;
constexpr std::int64_t kSegment = 2048;  // columns

struct Segments {
  MatrixView dense;      // row-major
  std::int64_t per_row;  // at least 1, so that offsets of empty rows come out of the scan, too
  std::uint64_t digits;  // the bits of an item of which one is set in a nonzero: all but the sign

  SPARSECORE_INLINE std::int64_t count() const { return dense.rows * per_row; }
};

template <class Bits, int kVector>
struct Window {
  Vector<Bits, kVector> items;
  unsigned kept;  // a bit for each nonzero
};

// The items of this lane from `column` on; those past `end` count as zeros.
template <class Bits, int kVector>
__device__ __forceinline__ Window<Bits, kVector> window_at(const Segments& segments,
                                                           std::int64_t row, std::int64_t column,
                                                           std::int64_t end) {
  Window<Bits, kVector> window{};
  if (column < end) {  // the columns are a multiple of kVector
    const Bits* const from =
        static_cast<const Bits*>(segments.dense.data) + row * segments.dense.row_stride + column;
    window.items = *reinterpret_cast<const Vector<Bits, kVector>*>(from);
  }
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const bool is_kept = (window.items.items[v] & static_cast<Bits>(segments.digits)) != 0;
    window.kept |= (is_kept ? 1u : 0u) << v;
  }
  return window;
}

struct Segment {
  std::int64_t row, begin, end;
};
__device__ __forceinline__ Segment segment_at(const Segments& segments, std::int64_t i) {
  const std::int64_t row = i / segments.per_row, begin = i % segments.per_row * kSegment;
  const std::int64_t end =
      begin + kSegment < segments.dense.cols ? begin + kSegment : segments.dense.cols;
  return {row, begin, end};
}
__device__ __forceinline__ std::int64_t segment_of_warp() {
  return std::int64_t{blockIdx.x} * (kThreads / kWarp) + static_cast<int>(threadIdx.x) / kWarp;
}

template <class Bits, int kVector>
__global__ void __launch_bounds__(kThreads)
    count_nonzeros(Segments segments, std::int64_t* counts) {
  const std::int64_t i = segment_of_warp();
  if (i >= segments.count()) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Segment segment = segment_at(segments, i);
  int count = 0;
  for (std::int64_t c = segment.begin; c < segment.end; c += kWarp * kVector) {
    count += __popc(
        window_at<Bits, kVector>(segments, segment.row, c + lane * kVector, segment.end).kept);
  }
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) count += __shfl_xor_sync(~0u, count, half);
  if (lane == 0) counts[i] = count;
}

template <class Bits, int kVector>
__global__ void __launch_bounds__(kThreads)
    write_nonzeros(Segments segments, const std::int64_t* first, Bits* values,
                   IndexTarget columns) {
  const std::int64_t i = segment_of_warp();
  if (i >= segments.count()) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Segment segment = segment_at(segments, i);
  std::int64_t to = first[i];
  for (std::int64_t c = segment.begin; c < segment.end; c += kWarp * kVector) {
    const std::int64_t column = c + lane * kVector;
    const auto window = window_at<Bits, kVector>(segments, segment.row, column, segment.end);
    const int mine = __popc(window.kept);
    int up_to_mine = mine;
#pragma unroll
    for (int lanes = 1; lanes < kWarp; lanes *= 2) {
      const int before = __shfl_up_sync(~0u, up_to_mine, static_cast<unsigned>(lanes));
      if (lane >= lanes) up_to_mine += before;
    }
    std::int64_t p = to + up_to_mine - mine;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      if ((window.kept >> v & 1u) == 0) continue;
      values[p] = window.items.items[v];
      columns.set(p, column + v);
      ++p;
    }
    to += __shfl_sync(~0u, up_to_mine, kWarp - 1);
  }
}

__global__ void __launch_bounds__(kItemThreads)
    write_offsets(const std::int64_t* first, std::int64_t per_row, std::int64_t rows,
                  IndexTarget offsets) {
  const std::int64_t r = item_of_thread();
  if (r <= rows) offsets.set(r, first[r * per_row]);
}

__global__ void __launch_bounds__(1) write_zero(std::int64_t* to) { *to = 0; }

template <class Bits, int kVector>
Nonzeros extracted(const Segments& segments, Memory& memory, Stream stream) {
  const MatrixView& dense = segments.dense;
  const std::int64_t count = segments.count();
  auto* const first = memory.take_items<std::int64_t>(count + 1);
  const Grid grid{blocks_for(count, kThreads / kWarp), 1, kThreads};
  launch("counting nonzeros", count_nonzeros<Bits, kVector>, grid, stream, segments, first);
  launch("counting nonzeros", write_zero, {1, 1, 1}, stream, first + count);
  exclusive_sum(first, count + 1, memory, stream);
  const std::int64_t nnz = read_back(first + count, stream);
  auto* const values = memory.take_items<Bits>(nnz);
  const IndexTarget columns = index_room(nnz, column_width(dense.cols), memory);
  const IndexTarget offsets =
      index_room(dense.rows + 1, width_for(static_cast<std::uint64_t>(nnz)), memory);
  launch("writing nonzeros", write_nonzeros<Bits, kVector>, grid, stream, segments, first, values,
         columns);
  launch("writing row offsets", write_offsets, grid_of(dense.rows + 1), stream, first,
         segments.per_row, dense.rows, offsets);
  Pattern pattern{offsets.view(dense.rows + 1), columns.view(nnz), {}};
  pattern.pieces = row_pieces(pattern.offsets, nnz, memory, stream);
  return {pattern, values};
}

template <class Bits>
Nonzeros nonzeros_of(const Segments& segments, Memory& memory, Stream stream) {
  constexpr int kVector = 16 / sizeof(Bits);
  const MatrixView& dense = segments.dense;
  const bool is_aligned = dense.cols % kVector == 0 && dense.row_stride % kVector == 0 &&
                          reinterpret_cast<std::uintptr_t>(dense.data) % 16 == 0;
  return is_aligned ? extracted<Bits, kVector>(segments, memory, stream)
                    : extracted<Bits, 1>(segments, memory, stream);
}

template <class Bits, int kLanes>
__global__ void __launch_bounds__(kPieceThreads) scatter(CsrView a, Pieces pieces, Bits* out) {
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = piece_at(pieces, a.offsets, i);
  for (std::int64_t p = piece.begin + lane_of<kLanes>(); p < piece.end; p += kLanes) {
    out[piece.row * a.cols + a.columns[p]] = static_cast<const Bits*>(a.values)[p];
  }
}

}  // namespace

Nonzeros nonzeros(const MatrixView& given, Memory& memory, Stream stream) {
  MatrixView dense = given;
  if (dense.col_stride != 1 && dense.cols > 1) dense = row_major_copy(given, memory, stream);
  const std::int64_t bits = 8 * item_size(dense.dtype);
  const std::int64_t per_row = dense.cols > 0 ? blocks_for(dense.cols, kSegment) : 1;
  const std::uint64_t all = ~std::uint64_t{0} >> (64 - bits);
  const Segments segments{dense, per_row, is_floating(dense.dtype) ? all >> 1 : all};
  return with_bits(item_size(dense.dtype), [&](auto item) {
    return nonzeros_of<decltype(item)>(segments, memory, stream);
  });
}

void scatter_dense(const CsrView& a, const Pieces& pieces, std::int64_t item_size, void* out,
                   Stream stream) {
  with_bits(item_size, [&](auto item) {
    using Bits = decltype(item);
    auto* const to = static_cast<Bits*>(out);
    if (are_short(pieces, a.nnz())) {
      launch("scattering values", scatter<Bits, kFewLanes>, grid_of<kFewLanes>(pieces), stream, a,
             pieces, to);
    } else {
      launch("scattering values", scatter<Bits, kWarp>, grid_of<kWarp>(pieces), stream, a, pieces,
             to);
    }
  });
}

}  // namespace sparsecore::cuda
