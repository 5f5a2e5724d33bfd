// Y = A X in fp32 by dense tiles: 64 rows of A, 32 columns at a time, are expanded to shared memory
// and multiplied with 64 columns of X by tensor cores.
//
// A block does 2 * 64 * 64 * K flops on its tile whatever A's zeros, so it pays where A has few: at
// 70 % zeros tf32 does 3.3 times the useful flops, three times that for kThreeTimes, against a unit
// of eight times the rate of fp32 and no load of X for each entry. Two threads expand a row, each
// every second of its entries; a word a row says which of its 32 items are stored.
//
// What a stored item does not meet must not matter (formats: implicit zeros are skipped), and sums
// of two tf32 numbers do not hold infinities: where a tile of X or of A holds one, or NaN, or a
// number that rounds to one, that step is done item by item in fp32.
#include "launch.h"
#include "ptx.h"
#include "scalars.h"
#include "tf32_tiles.h"
#include "tile_copy.h"
#include "write_out.h"

namespace sparsecore::cuda {
namespace {

constexpr int kRows = 64, kColumns = 64, kDepth = 32, kWarp = 32, kThreads = 128;
constexpr int kAcross = 4, kDown = 2;  // a warp's products: 2 x 16 rows, 4 x 8 columns
// Paddings by which the lanes of a fragment meet different banks.
constexpr int kAStride = kDepth + 4, kXStride = kColumns + 8;
constexpr int kFloats = kRows * kAStride + kDepth * kXStride;
static_assert(kRows * kXStride <= kFloats, "the results take the tiles' place");

__device__ __forceinline__ bool is_special(float v) {
  return (__float_as_uint(v) & 0x7fffffffu) >= 0x7f7ff000u;
}

// One of A's rows, by two threads: where each has got to among its entries.
struct Cursor {
  std::int64_t next, end;
};

// Writes the entries of 32 columns from `first` on; returns which items are stored (those of this
// thread), and whether one is special.
__device__ __forceinline__ std::uint32_t expand(const CsrView& a, Cursor& cursor,
                                                std::int64_t first, float* row, bool& special) {
  std::uint32_t stored = 0;
  while (cursor.next < cursor.end) {
    const std::int64_t k = a.columns[cursor.next] - first;
    if (k >= kDepth) break;
    const float value = static_cast<const float*>(a.values)[cursor.next];
    row[k] = value;
    stored |= 1u << k;
    special |= is_special(value);
    cursor.next += 2;
  }
  return stored;
}

struct Split {
  std::uint32_t high, low;
};
template <Tf32 kHow>
__device__ __forceinline__ Split split(float v) {
  const std::uint32_t high = to_tf32(v);
  return {high, kHow == Tf32::kOnce ? 0u : to_tf32(v - __uint_as_float(high))};
}

template <Tf32 kHow>
__global__ void __launch_bounds__(kThreads)
    tiles(CsrView a, MatrixView x, MatrixView out, Epilogue epilogue) {
  __shared__ float shared[kFloats];
  auto* const a_tile = reinterpret_cast<float (*)[kAStride]>(shared);
  auto* const x_tile = reinterpret_cast<float (*)[kXStride]>(shared + kRows * kAStride);
  __shared__ std::uint32_t stored[kRows];
  __shared__ int any_special[2];  // of this step, and cleared for the next
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int g = lane / 4, t = lane % 4;
  const int warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
  const std::int64_t row0 = std::int64_t{blockIdx.x} * kRows, column0 = block_down() * kColumns;
  const int own_row = thread / 2;
  Cursor cursor{0, 0};
  if (row0 + own_row < a.rows) {
    cursor = {a.offsets[row0 + own_row] + thread % 2, a.offsets[row0 + own_row + 1]};
  }
  if (thread < 2) any_special[thread] = 0;
  float d[kDown][kAcross][4] = {};
  int step = 0;
  for (std::int64_t first = 0; first < a.cols; first += kDepth, ++step) {
    __syncthreads();  // the tiles of the step before have been read
    for (int i = thread; i < kRows * kAStride; i += kThreads) shared[i] = 0;
    bool special = false;
    for (int i = thread; i < kDepth * kColumns; i += kThreads) {
      const int k = i / kColumns, c = i % kColumns;
      float v = 0;
      if (first + k < x.rows && column0 + c < x.cols) {
        v = static_cast<const float*>(x.data)[(first + k) * x.row_stride + column0 + c];
      }
      special |= is_special(v);
      x_tile[k][c] = v;
    }
    if (thread == 0) any_special[(step + 1) % 2] = 0;
    __syncthreads();
    std::uint32_t mine = expand(a, cursor, first, a_tile[own_row], special);
    mine |= __shfl_xor_sync(~0u, mine, 1);
    if (thread % 2 == 0) stored[own_row] = mine;
    if (special) any_special[step % 2] = 1;
    __syncthreads();
    if (any_special[step % 2] != 0) {
#pragma unroll 1
      for (int k = 0; k < kDepth; ++k) {
#pragma unroll
        for (int i = 0; i < kDown * kAcross * 4; ++i) {
          const int down = i / 4 / kAcross, across = i / 4 % kAcross, item = i % 4;
          const int r = warp_row + down * 16 + g + item / 2 * 8;
          const int c = warp_column + across * 8 + t * 2 + item % 2;
          if (stored[r] >> k & 1u) d[down][across][item] += a_tile[r][k] * x_tile[k][c];
        }
      }
      continue;
    }
#pragma unroll
    for (int k = 0; k < kDepth; k += 8) {
      Split as[kDown][4], xs[kAcross][2];
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int item = 0; item < 4; ++item) {
          as[i][item] =
              split<kHow>(a_tile[warp_row + i * 16 + g + item % 2 * 8][k + t + item / 2 * 4]);
        }
      }
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
#pragma unroll
        for (int item = 0; item < 2; ++item) {
          xs[j][item] = split<kHow>(x_tile[k + t + item * 4][warp_column + j * 8 + g]);
        }
      }
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        const std::uint32_t high[4] = {as[i][0].high, as[i][1].high, as[i][2].high, as[i][3].high};
        const std::uint32_t low[4] = {as[i][0].low, as[i][1].low, as[i][2].low, as[i][3].low};
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
          const std::uint32_t x_high[2] = {xs[j][0].high, xs[j][1].high};
          if (kHow == Tf32::kThreeTimes) {  // the small ones first
            const std::uint32_t x_low[2] = {xs[j][0].low, xs[j][1].low};
            mma_m16n8k8_tf32(d[i][j], low, x_high);
            mma_m16n8k8_tf32(d[i][j], high, x_low);
          }
          mma_m16n8k8_tf32(d[i][j], high, x_high);
        }
      }
    }
  }
  __syncthreads();
  auto* const results = reinterpret_cast<float (*)[kXStride]>(shared);
#pragma unroll
  for (int i = 0; i < kDown * kAcross * 4; ++i) {
    const int down = i / 4 / kAcross, across = i / 4 % kAcross, item = i % 4;
    results[warp_row + down * 16 + g + item / 2 * 8][warp_column + across * 8 + t * 2 + item % 2] =
        d[down][across][item];
  }
  __syncthreads();
#pragma unroll 1
  for (int i = thread; i < kRows * kColumns; i += kThreads) {
    const std::int64_t r = row0 + i / kColumns, c = column0 + i % kColumns;
    if (r >= a.rows || c >= x.cols) continue;
    store(static_cast<float*>(out.data) + r * out.row_stride + c * out.col_stride,
          RowEnd<float, float>(epilogue, r).finished(results[i / kColumns][i % kColumns], c));
  }
}

}  // namespace

void tf32_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                  const MatrixView& out, Tf32 how, Memory& memory, Stream stream) {
  const MatrixView rows = x.col_stride == 1 ? x : row_major_copy(x, memory, stream);
  const Grid grid{blocks_for(a.rows, kRows), blocks_for(x.cols, kColumns), kThreads};
  launch("csr_matmul", how == Tf32::kOnce ? tiles<Tf32::kOnce> : tiles<Tf32::kThreeTimes>, grid,
         stream, a, rows, out, epilogue);
}

}  // namespace sparsecore::cuda
