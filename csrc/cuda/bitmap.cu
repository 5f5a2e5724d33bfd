// Y = A X for N <= 32, A of 16 bits and 40 to 90 % zeros. The floor is A's bytes over the memory's
// bandwidth: 2 a value and 0.15 a position, so 0.57 of the dense matrix at 50 % and 0.17 at 90 %. A
// warp copies the values of a block to shared memory, 16 bytes a lane, while it works on those of
// the block before. There a lane finds its items by counting the bits below (mask, count, address,
// load), and a warp does one matrix product for 256 positions and eight columns.
//
// A block of threads takes a strip of 16 rows. Its eight warps share the columns, in eight runs of
// equal length, and their sums are added up in order at the end: the same bits every time.
#include "bitmap.h"
#include "bitmap_lanes.h"
#include "launch.h"
#include "ptx.h"
#include "scalars.h"
#include "write_out.h"

namespace sparsecore::cuda {
namespace {

constexpr int kWarps = 8, kFragments = kBlockColumns / kFragmentColumns;
constexpr int kMostColumns = 32;

// X as fragments: [cols / 16, rounded up to whole blocks][n / 8][lane] pairs of words; and whether
// one of its items is not finite.
struct Fragments {
  const std::uint32_t* words;
  const std::uint32_t* is_special;
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
  if (special) atomicOr(is_special, 1u);
}

// One item of the result, of an X that holds what is not finite: only stored items meet it.
template <class T>
__device__ __forceinline__ float item_by_item(const BitmapView& a, const MatrixView& x,
                                              std::int64_t strip, int row, std::int64_t column) {
  float sum = 0;
#pragma unroll 1
  for (std::int64_t block = 0; block < a.blocks(); ++block) {
    const std::int64_t place = strip * a.blocks() + block;
    const std::uint32_t* masks = a.masks + place * kWarp;
    std::int64_t next = a.offsets[place] * kChunk;
#pragma unroll 1
    for (int lane = 0; lane < row % 8 * 4 + 4; ++lane) {
#pragma unroll 1
      for (std::uint32_t left = masks[lane]; left != 0; left &= left - 1, ++next) {
        const BitmapPlace at{lane, __ffs(static_cast<int>(left)) - 1};
        if (bitmap_row(at) != row) continue;
        const std::int64_t k = block * kBlockColumns + bitmap_column(at);
        sum +=
            widened<float>(static_cast<const T*>(a.values)[next]) *
            widened<float>(static_cast<const T*>(x.data)[k * x.row_stride + column * x.col_stride]);
      }
    }
  }
  return sum;
}

// What a warp has of a block in registers: its mask, and its share of the values.
constexpr int kChunks = kStripRows * kBlockColumns / kChunk, kChunksOfLane = kChunks / kWarp;
using Chunk = Vector<std::uint32_t, 4>;
struct Fetched {
  std::uint32_t mask;
  Chunk chunks[kChunksOfLane];
};

__device__ __forceinline__ Fetched fetched(const BitmapView& a, std::int64_t place, int lane) {
  Fetched found{a.masks[place * kWarp + lane], {}};
  const std::int64_t first = a.offsets[place];
  const int count = static_cast<int>(a.offsets[place + 1] - first);
  const Chunk* const chunks = static_cast<const Chunk*>(a.values) + first;
#pragma unroll
  for (int c = 0; c < kChunksOfLane; ++c) {
    if (c * kWarp + lane < count) found.chunks[c] = chunks[c * kWarp + lane];
  }
  return found;
}

template <class T, int kTiles>
__global__ void __launch_bounds__(kWarps* kWarp)
    strips(BitmapView a, MatrixView x, Fragments fragments, MatrixView out, Epilogue epilogue) {
  __shared__ float shared[kWarps][kTiles][4][kWarp];
  __shared__ Chunk staged[kWarps][kChunks];
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const std::int64_t blocks = a.blocks();
  const std::int64_t strip = blockIdx.x;
  const bool is_special = *fragments.is_special != 0;
  float d[kTiles][4] = {};
  const std::int64_t begin = blocks * warp / kWarps;
  const std::int64_t end = is_special ? begin : blocks * (warp + 1) / kWarps;
  Fetched next;
  if (begin < end) next = fetched(a, strip * blocks + begin, lane);
  for (std::int64_t block = begin; block < end; ++block) {
    const std::uint32_t mask = next.mask;
#pragma unroll
    for (int c = 0; c < kChunksOfLane; ++c) staged[warp][c * kWarp + lane] = next.chunks[c];
    if (block + 1 < end) next = fetched(a, strip * blocks + block + 1, lane);
    const auto* values =
        reinterpret_cast<const std::uint16_t*>(staged[warp]) + items_before(__popc(mask));
    __syncwarp();
    const std::uint32_t* words = fragments.words + block * (kFragments * kTiles * 2 * kWarp);
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
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const auto pair = *reinterpret_cast<const Vector<std::uint32_t, 2>*>(
            words + ((fragment * kTiles + tile) * kWarp + lane) * 2);
        const std::uint32_t b[2] = {pair.items[0], pair.items[1]};
        mma_m16n8k16<T>(d[tile], items, b);
      }
    }
    __syncwarp();  // all lanes have read what is staged
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) shared[warp][tile][i][lane] = d[tile][i];
  }
  __syncthreads();
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kTiles * 8 * kStripRows; i += kWarps * kWarp) {
    const int column = i % (kTiles * 8), row = i / (kTiles * 8);
    const std::int64_t r = strip * kStripRows + row;
    if (r >= a.rows || column >= out.cols) continue;
    const int source = row % 8 * 4 + column % 8 / 2, item = row / 8 * 2 + column % 2;
    float sum = is_special ? item_by_item<T>(a, x, strip, row, column) : 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += shared[w][column / 8][item][source];
    store(static_cast<T*>(out.data) + r * out.row_stride + column * out.col_stride,
          RowEnd<float, T>(epilogue, r).finished(sum, column));
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
  auto* is_special = memory.take_items<std::uint32_t>(1);
  check(cudaMemsetAsync(is_special, 0, 4, stream), "clearing");
  launch("csr_matmul", to_fragments<T>, {blocks_for(lanes, 256), 1, 256}, stream, x, kTiles, blocks,
         words, is_special);
  launch("csr_matmul", strips<T, kTiles>, {a.strips(), 1, kWarps * kWarp}, stream, a, x,
         Fragments{words, is_special}, out, epilogue);
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

void bitmap_product(const BitmapView& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, Memory& memory, Stream stream) {
  if (a.dtype == DType::kFloat16) return product<Half>(a, x, epilogue, out, memory, stream);
  return product<BFloat16>(a, x, epilogue, out, memory, stream);
}

}  // namespace sparsecore::cuda
