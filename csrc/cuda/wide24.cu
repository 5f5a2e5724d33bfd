// Y = S X for many columns, S 2:4 of 16 bits, by wgmma.sp (wgmma.h), with S in registers: prepacked
// slabs (wide24_layout.h) are loaded 16 bytes a lane, coalesced, as the operands that they are. X
// goes through a ring of stages in shared memory, with the hardware's swizzle (shared_tile.h); it
// is read in either memory order, as the products take both. Tiles of Y are 256 x 128: two
// warpgroups with two slabs each, whose sums stay in 128 registers a thread. A step is 64 columns
// of S.
//
// Counted for a step, not measured. At 8192 sparse flops a clock 2 * 256 * 128 * 64 flops are 512
// clocks. Shared memory and L1, 128 bytes a clock: each slab's products read the stage's 16 KiB
// (64 KiB, all of the 512 clocks), which have been written once (16 KiB), and S passes as 18 KiB:
// 98 KiB, 784 clocks. So the bound is 65 % of the sparse peak, 1.3 of the dense one; with S in
// shared memory, too, it would be written and read there, 18 KiB more. L2 delivers 34 KiB a step,
// and bands of 8 tiles share it. Copies of six stages are on their way, 3000 clocks, more than
// memory's latency; S is loaded one step ahead. Products are started before the copies of their
// step, and those of the step before are still at work when a barrier is reached.
//
// TMA would multicast a stage to two blocks of a cluster (L2: 26 KiB) and take the copying from the
// warps. It needs the driver's interface for its descriptors.
//
// What lies past the last row or column of X is zeros, what is past the last column of S zeros
// with valid places, so that no padding makes a NaN. Only what places select is multiplied.
#include "launch.h"
#include "line_copies.h"
#include "scalars.h"
#include "shared_tile.h"
#include "tile_copy.h"
#include "tile_write_out.h"
#include "wgmma.h"
#include "wide24.h"

namespace sparsecore::cuda {
namespace {

constexpr int kThreads = 2 * kGroupThreads, kSlabs = 2;  // slabs of a warpgroup
constexpr int kRows = 2 * kSlabs * kSlabRows, kColumns = 128, kSums = kColumns / 2;
constexpr int kStages = 8, kAhead = kStages - 2, kStageBytes = kColumns * kLineBytes;
constexpr int kBand = 8;  // tiles down the rows that are taken before the next columns
// Paddings by which the lanes of a warp that store sums meet different banks.
constexpr int kRowStride = kColumns + 8, kColumnStride = kRows + 4;
constexpr int kSharedBytes = kRows * kRowStride * 4;
static_assert(kStages * kStageBytes <= kSharedBytes &&
              kColumns * kColumnStride * 4 <= kSharedBytes);

// Neighbouring blocks share rows of S or columns of X.
__device__ __forceinline__ TilePlace tile_of_block(std::int64_t down, std::int64_t across) {
  const std::int64_t i = blockIdx.x, first = i / (kBand * across) * kBand;
  const std::int64_t height = down - first < kBand ? down - first : kBand;
  const std::int64_t in_band = i - first * across;
  return {(first + in_band % height) * kRows, in_band / height * kColumns};
}

// What the products of a step take from S.
struct Operands {
  std::uint32_t values[kSlabs][kProducts][4];
  std::uint32_t metadata[kSlabs];
};

__device__ __forceinline__ void load(const Wide24View& a, std::int64_t slab, std::int64_t step,
                                     Operands& operands) {
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
    // The last slab also stands for those that are not there: nobody stores their sums.
    const std::int64_t row = slab + s < a.down() ? slab + s : a.down() - 1;
    const std::int64_t at = row * a.across() + step;
    operands.metadata[s] = a.metadata[at * kGroupThreads + thread];
    const auto* const values = static_cast<const Vector<std::uint32_t, 4>*>(a.values) +
                               at * kProducts * kGroupThreads + thread;
#pragma unroll
    for (int p = 0; p < kProducts; ++p) {
      const auto words = values[p * kGroupThreads];
#pragma unroll
      for (int i = 0; i < 4; ++i) operands.values[s][p][i] = words.items[i];
    }
  }
}

// Starts a step's products.
template <class T, bool kAlongN>
__device__ __forceinline__ void multiply(float (&d)[kSlabs][kSums], const Operands& a,
                                         const char* stage) {
  constexpr int kLeading = kAlongN ? kLineItems * kLineBytes : kChunkBytes;
  constexpr std::uint32_t kHalf = kAlongN ? kLineItems / 2 * kLineBytes : kLineBytes / 2;
  const std::uint32_t address = shared_address(stage);
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
    wgmma_sparse<T, 0, kAlongN>(d[s], a.values[s][0], a.metadata[s],
                                tile_descriptor(address, kLeading, kAtomBytes));
    wgmma_sparse<T, 1, kAlongN>(d[s], a.values[s][1], a.metadata[s],
                                tile_descriptor(address + kHalf, kLeading, kAtomBytes));
  }
}

// The sums of this thread to sums[row * row_stride + column * column_stride] of the tile.
template <int kRowStep, int kColumnStep>
__device__ __forceinline__ void stage_sums(const float (&d)[kSlabs][kSums], float* sums) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int row =
      thread / kGroupThreads * kSlabs * kSlabRows + thread % kGroupThreads / 32 * 16 + lane / 4;
  float* const own = sums + row * kRowStep + lane % 4 * 2 * kColumnStep;
#pragma unroll
  for (int s = 0; s < kSlabs; ++s) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) {
      own[(s * kSlabRows + i / 2 % 2 * 8) * kRowStep + (i / 4 * 8 + i % 2) * kColumnStep] = d[s][i];
    }
  }
}

template <class T>
__device__ __forceinline__ void finish(const float (&d)[kSlabs][kSums], float* sums, TilePlace at,
                                       const MatrixView& out, const Epilogue& epilogue) {
  if (out.row_stride < out.col_stride) {
    stage_sums<1, kColumnStride>(d, sums);
    __syncthreads();
    write_tile_by_columns<T, kRows, kColumns, kColumnStride, kThreads>(sums, at, out, epilogue);
  } else {
    stage_sums<kRowStride, 1>(d, sums);
    __syncthreads();
    write_tile_by_rows<T, kRows, kColumns, kRowStride, kThreads>(sums, at, out, epilogue);
  }
}

// In code for other devices too few threads are allowed for a launch, which is what has_wide24
// sees.
template <class T, bool kAlongN>
__global__ void __launch_bounds__(kHasWgmma ? kThreads : 32)
    wide_tiles(Wide24View a, MatrixView x, MatrixView out, Epilogue epilogue) {
  if constexpr (kHasWgmma) {
    char* const shared = dynamic_shared();
    const TilePlace at =
        tile_of_block((out.rows + kRows - 1) / kRows, (out.cols + kColumns - 1) / kColumns);
    const std::int64_t steps = a.across();
    const std::int64_t slab =
        at.row / kSlabRows + static_cast<int>(threadIdx.x) / kGroupThreads * kSlabs;
    LineCopies<T, kAlongN, kColumns, kThreads> copies(x, at.column);
    const auto start = [&](std::int64_t step) {
      const std::int64_t left = x.rows - step * kSlabColumns;
      if (left > 0) {
        copies.start(left < kSlabColumns ? static_cast<int>(left) : kSlabColumns,
                     shared + step % kStages * kStageBytes);
      }
      commit_copies();  // of nothing, too: groups are counted
    };
    float d[kSlabs][kSums] = {};
    keep_in_order(d[0]);
    keep_in_order(d[1]);
    Operands operands[2];
#pragma unroll 1
    for (int step = 0; step < kAhead; ++step) start(step);
    if (steps > 0) load(a, slab, 0, operands[0]);
    const auto advance = [&](std::int64_t step, const Operands& now, Operands& next) {
      wait_for_copies<kAhead - 1>();
      fence_for_wgmma();
      __syncthreads();  // the stage is there, and all are done with that of two steps before
      begin_wgmma();
      multiply<T, kAlongN>(d, now, shared + step % kStages * kStageBytes);
      commit_wgmma();
      start(step + kAhead);
      wait_for_wgmma<1>();
      if (step + 1 < steps) load(a, slab, step + 1, next);
    };
#pragma unroll 1
    for (std::int64_t step = 0; step < steps; step += 2) {
      advance(step, operands[0], operands[1]);
      if (step + 1 < steps) advance(step + 1, operands[1], operands[0]);
    }
    wait_for_wgmma<0>();
    keep_in_order(d[0]);
    keep_in_order(d[1]);
    wait_for_copies<0>();
    __syncthreads();  // the sums take the stages' place
    finish<T>(d, reinterpret_cast<float*>(shared), at, out, epilogue);
  } else {
    __trap();
  }
}

// Whether lines along one axis hold neighbours and begin at multiples of 16 bytes.
bool has_lines(const MatrixView& x, std::int64_t length, std::int64_t step, std::int64_t stride) {
  return (step == 1 || length <= 1) && stride % (kChunkBytes / 2) == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % kChunkBytes == 0;
}

template <class T>
void product(const Wide24View& a, MatrixView x, const Epilogue& epilogue, const MatrixView& out,
             Memory& memory, Stream stream) {
  // A stride along which nothing follows says nothing; 0 is aligned.
  if (x.rows <= 1) x.row_stride = 0;
  if (x.cols <= 1) x.col_stride = 0;
  const bool is_along_k = has_lines(x, x.rows, x.row_stride, x.col_stride);
  const bool is_along_n = has_lines(x, x.cols, x.col_stride, x.row_stride);
  if (!is_along_k && !is_along_n) x = row_major_copy(x, memory, stream);
  const Grid grid{blocks_for(out.rows, kRows) * blocks_for(out.cols, kColumns), 1, kThreads,
                  kSharedBytes};
  launch("sparse24_matmul", is_along_k ? wide_tiles<T, false> : wide_tiles<T, true>, grid, stream,
         a, x, out, epilogue);
}

}  // namespace

bool has_wide24() {
  cudaFuncAttributes found{};
  check(cudaFuncGetAttributes(&found, wide_tiles<Half, true>), "asking for a kernel");
  return found.maxThreadsPerBlock >= kThreads;
}

void wide24_product(const Wide24View& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, Memory& memory, Stream stream) {
  if (a.dtype == DType::kFloat16) return product<Half>(a, x, epilogue, out, memory, stream);
  return product<BFloat16>(a, x, epilogue, out, memory, stream);
}

}  // namespace sparsecore::cuda
