// Y = A X for N <= 32, A of 16 bits and 40 to 90 % zeros. The floor is A's bytes over the memory's
// bandwidth: 2 a value and 0.129 a position, so 0.56 of the dense matrix at 50 % and 0.16 at 90 %. A
// lane spends about five instructions a position on finding its items (bit, count of bits below,
// load), and a warp one matrix product for 256 positions and eight columns.
//
// A block of threads takes a strip of 16 rows. Its eight warps share the columns, in eight runs of
// equal length, and their sums are added up in order at the end: the same bits every time.
#include "bitmap.h"

#include <cub/device/device_scan.cuh>

#include "launch.h"
#include "ptx.h"
#include "scalars.h"
#include "write_out.h"

namespace sparsecore::cuda {
namespace {

constexpr int kWarp = 32, kWarps = 8, kFragments = kBlockColumns / kFragmentColumns;
constexpr int kMostColumns = 32;
constexpr unsigned kAll = ~0u;

// ---- making one ----

// A warp a row.
template <class Body>
__device__ void for_entries(const CsrView& a, std::int64_t blocks, Body body) {
  const std::int64_t row =
      (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  if (row >= a.rows) return;
  for (std::int64_t p = a.offsets[row] + threadIdx.x % kWarp; p < a.offsets[row + 1]; p += kWarp) {
    const std::int64_t column = a.columns[p];
    const std::int64_t block = row / kStripRows * blocks + column / kBlockColumns;
    body(p, block,
         bitmap_place(static_cast<int>(row % kStripRows),
                      static_cast<int>(column % kBlockColumns)));
  }
}

__global__ void set_bits(CsrView a, std::int64_t blocks, std::uint32_t* masks) {
  for_entries(a, blocks, [=](std::int64_t, std::int64_t block, BitmapPlace place) {
    atomicOr(&masks[block * kWarp + place.lane], 1u << place.bit);
  });
}

// How many items lanes below have; all lanes of the warp take part.
__device__ __forceinline__ int items_before(int count) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  int sum = count;
#pragma unroll
  for (int delta = 1; delta < kWarp; delta *= 2) {
    const int other = __shfl_up_sync(kAll, sum, static_cast<unsigned>(delta));
    if (lane >= delta) sum += other;
  }
  return sum - count;
}

// A warp a block: how many values it has; and before each of its lanes.
__global__ void count_values(const std::uint32_t* masks, std::int64_t count, std::uint32_t* values,
                             std::uint16_t* before) {
  const std::int64_t block = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  if (block >= count) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int mine = __popc(masks[block * kWarp + lane]);
  const int below = items_before(mine);
  if (before != nullptr) before[block * kWarp + lane] = static_cast<std::uint16_t>(below);
  if (values != nullptr && lane == kWarp - 1) {
    values[block] = static_cast<std::uint32_t>(below + mine);
  }
}

template <bool kToCsr>
__global__ void move_values(CsrView a, BitmapView bitmap, const std::uint16_t* before,
                            std::uint16_t* csr_values, std::uint16_t* bitmap_values) {
  for_entries(a, bitmap.blocks(), [&](std::int64_t p, std::int64_t block, BitmapPlace place) {
    const std::uint32_t mask = bitmap.masks[block * kWarp + place.lane];
    const std::int64_t at = std::int64_t{bitmap.offsets[block]} +
                            before[block * kWarp + place.lane] +
                            __popc(mask & ((1u << place.bit) - 1u));
    if (kToCsr) {
      csr_values[p] = bitmap_values[at];
    } else {
      bitmap_values[at] = csr_values[p];
    }
  });
}

template <bool kToCsr>
void move_all(const CsrView& a, const BitmapView& bitmap, void* csr_values, void* bitmap_values,
              Memory& memory, Stream stream) {
  const std::int64_t count = bitmap.strips() * bitmap.blocks();
  auto* before = memory.take_items<std::uint16_t>(count * kWarp);
  constexpr int kThreads = 256, kEach = kThreads / kWarp;
  launch("packing", count_values, {blocks_for(count, kEach), 1, kThreads}, stream, bitmap.masks,
         count, nullptr, before);
  launch("packing", move_values<kToCsr>, {blocks_for(a.rows, kEach), 1, kThreads}, stream, a, bitmap,
         before, static_cast<std::uint16_t*>(csr_values),
         static_cast<std::uint16_t*>(bitmap_values));
}

// ---- the product ----

// X as fragments: [cols / 16, rounded up to whole blocks][n / 8][lane] pairs of words; and for each
// block whether one of its items is not finite.
struct Fragments {
  const std::uint32_t* words;
  const std::uint32_t* is_special;
  int tiles;
};

template <class T>
__global__ void to_fragments(MatrixView x, int tiles, std::int64_t blocks, std::uint32_t* words,
                             std::uint32_t* is_special) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= blocks * kFragments * tiles * kWarp) return;
  const int lane = static_cast<int>(i % kWarp);
  const std::int64_t tile = i / kWarp % tiles, fragment = i / kWarp / tiles;
  const std::int64_t column = tile * 8 + lane / 4;
  bool special = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t word = 0;
#pragma unroll
    for (int item = 0; item < 2; ++item) {
      const std::int64_t row = fragment * kFragmentColumns + half * 8 + lane % 4 * 2 + item;
      if (row >= x.rows || column >= x.cols) continue;
      const T v = static_cast<const T*>(x.data)[row * x.row_stride + column * x.col_stride];
      special |= !std::isfinite(widened<float>(v));
      word |= static_cast<std::uint32_t>(v.bits) << (16 * item);
    }
    words[2 * i + half] = word;
  }
  if (special) atomicOr(&is_special[fragment / kFragments], 1u);
}

// d += a b where b may hold what is not finite: only items of `mask`, eight bits of each lane, meet it.
template <class T>
__device__ void add_items(float (&d)[4], std::uint32_t mask, const std::uint32_t (&a)[4],
                          const std::uint32_t* b) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  for (int t = 0; t < 4; ++t) {  // the lanes that hold A's rows lane / 4 and 8 below
    const int source = lane / 4 * 4 + t;
    const std::uint32_t theirs = __shfl_sync(kAll, mask, source);
#pragma unroll
    for (int bit = 0; bit < 8; ++bit) {
      const std::uint32_t word = __shfl_sync(kAll, a[bit / 2], source);
      if ((theirs >> bit & 1u) == 0) continue;
      const auto factor = T{static_cast<std::uint16_t>(word >> (bit % 2 * 16))};
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int column = lane % 4 * 2 + c;
        const std::uint32_t pair = b[(column * 4 + t) * 2 + bit / 4];
        const auto v = T{static_cast<std::uint16_t>(pair >> (bit % 2 * 16))};
        d[bit / 2 % 2 * 2 + c] += widened<float>(factor) * widened<float>(v);
      }
    }
  }
}

template <class T, int kTiles>
__global__ void __launch_bounds__(kWarps* kWarp)
    strips(BitmapView a, Fragments x, MatrixView out, Epilogue epilogue) {
  __shared__ float shared[kWarps][kTiles][4][kWarp];
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const std::int64_t blocks = a.blocks();
  const std::int64_t strip = blockIdx.x;
  float d[kTiles][4] = {};
  const std::int64_t begin = blocks * warp / kWarps, end = blocks * (warp + 1) / kWarps;
  for (std::int64_t block = begin; block < end; ++block) {
    const std::int64_t place = strip * blocks + block;
    const std::uint32_t mask = a.masks[place * kWarp + lane];
    const auto* values =
        static_cast<const std::uint16_t*>(a.values) + a.offsets[place] + items_before(__popc(mask));
    const bool is_special = x.is_special[block] != 0;
#pragma unroll
    for (int fragment = 0; fragment < kFragments; ++fragment) {
      std::uint32_t items[4];
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        items[word] = 0;
#pragma unroll
        for (int item = 0; item < 2; ++item) {
          const std::uint32_t bit = 1u << (fragment * 8 + word * 2 + item);
          if (mask & bit) {
            items[word] |= static_cast<std::uint32_t>(values[__popc(mask & (bit - 1u))])
                           << (16 * item);
          }
        }
      }
      const std::uint32_t* words =
          x.words + (block * kFragments + fragment) * x.tiles * (2 * kWarp);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        if (is_special) {
          add_items<T>(d[tile], mask >> (fragment * 8) & 0xffu, items, words + tile * 2 * kWarp);
          continue;
        }
        const auto pair = *reinterpret_cast<const Vector<std::uint32_t, 2>*>(
            words + (tile * kWarp + lane) * 2);
        const std::uint32_t b[2] = {pair.items[0], pair.items[1]};
        mma_m16n8k16<T>(d[tile], items, b);
      }
    }
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) shared[warp][tile][i][lane] = d[tile][i];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kTiles * 8 * kStripRows; i += kWarps * kWarp) {
    const int column = i % (kTiles * 8), row = i / (kTiles * 8);
    const int source = row % 8 * 4 + column % 8 / 2, item = row / 8 * 2 + column % 2;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += shared[w][column / 8][item][source];
    const std::int64_t r = strip * kStripRows + row;
    if (r >= a.rows || column >= out.cols) continue;
    store(static_cast<T*>(out.data) + r * out.row_stride + column * out.col_stride,
          finished(sum, epilogue, r, column));
  }
}

MatrixView columns_of(const MatrixView& m, std::int64_t first, std::int64_t count) {
  MatrixView part = m;
  if (m.data == nullptr) return part;
  part.data = static_cast<char*>(m.data) + first * m.col_stride * item_size(m.dtype);
  part.cols = count;
  return part;
}

template <class T, int kTiles>
void product_of(const BitmapView& a, const MatrixView& x, const Epilogue& epilogue,
                const MatrixView& out, Memory& memory, Stream stream) {
  const std::int64_t blocks = a.blocks(), lanes = blocks * kFragments * kTiles * kWarp;
  auto* words = memory.take_items<std::uint32_t>(2 * lanes);
  auto* is_special = memory.take_items<std::uint32_t>(blocks);
  check(cudaMemsetAsync(is_special, 0, static_cast<std::size_t>(blocks) * 4, stream), "clearing");
  launch("csr_matmul", to_fragments<T>, {blocks_for(lanes, 256), 1, 256}, stream, x, kTiles, blocks,
         words, is_special);
  launch("csr_matmul", strips<T, kTiles>, {a.strips(), 1, kWarps * kWarp}, stream, a,
         Fragments{words, is_special, kTiles}, out, epilogue);
}

template <class T>
void product(const BitmapView& a, const MatrixView& x, const Epilogue& epilogue,
             const MatrixView& out, Memory& memory, Stream stream) {
  for (std::int64_t first = 0; first < x.cols; first += kMostColumns) {
    const std::int64_t count = x.cols - first < kMostColumns ? x.cols - first : kMostColumns;
    const MatrixView part = columns_of(x, first, count), result = columns_of(out, first, count);
    Epilogue rest = epilogue;
    rest.residual = columns_of(epilogue.residual, first, count);
    if (count <= 8) {
      product_of<T, 1>(a, part, rest, result, memory, stream);
    } else if (count <= 16) {
      product_of<T, 2>(a, part, rest, result, memory, stream);
    } else {
      product_of<T, 4>(a, part, rest, result, memory, stream);
    }
  }
}

}  // namespace

BitmapView bitmap_of(const CsrView& a, Memory& memory, Stream stream) {
  BitmapView bitmap;
  bitmap.rows = a.rows;
  bitmap.cols = a.cols;
  bitmap.nnz = a.nnz();
  bitmap.dtype = a.dtype;
  const std::int64_t count = bitmap.strips() * bitmap.blocks();
  // One word at least, so that there is an address.
  auto* masks = memory.take_items<std::uint32_t>(count > 0 ? count * kWarp : 1);
  auto* offsets = memory.take_items<std::uint32_t>(count > 0 ? count : 1);
  bitmap.masks = masks;
  bitmap.offsets = offsets;
  if (count == 0) return bitmap;
  check(cudaMemsetAsync(masks, 0, static_cast<std::size_t>(count) * kWarp * 4, stream), "clearing");
  constexpr int kThreads = 256, kEach = kThreads / kWarp;
  launch("packing", set_bits, {blocks_for(a.rows, kEach), 1, kThreads}, stream, a, bitmap.blocks(),
         masks);
  auto* counts = memory.take_items<std::uint32_t>(count);
  launch("packing", count_values, {blocks_for(count, kEach), 1, kThreads}, stream, masks, count,
         counts, nullptr);
  std::size_t bytes = 0;
  check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, counts, offsets, count, stream), "packing");
  void* scratch = memory.take(static_cast<std::int64_t>(bytes));
  check(cub::DeviceScan::ExclusiveSum(scratch, bytes, counts, offsets, count, stream), "packing");
  return bitmap;
}

void place_bitmap_values(const CsrView& a, const BitmapView& bitmap, void* bitmap_values,
                         Memory& memory, Stream stream) {
  move_all<false>(a, bitmap, const_cast<void*>(a.values), bitmap_values, memory, stream);
}

void unpack_bitmap_values(const CsrView& a, const BitmapView& bitmap, void* csr_values,
                          Memory& memory, Stream stream) {
  move_all<true>(a, bitmap, csr_values, const_cast<void*>(bitmap.values), memory, stream);
}

void bitmap_product(const BitmapView& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, Memory& memory, Stream stream) {
  if (a.dtype == DType::kFloat16) return product<Half>(a, x, epilogue, out, memory, stream);
  return product<BFloat16>(a, x, epilogue, out, memory, stream);
}

}  // namespace sparsecore::cuda
