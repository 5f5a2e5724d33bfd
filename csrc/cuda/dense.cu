// Dense to CSR in one pass over the matrix (docs/adr/0022-the-cuda-side.md counts its bytes). A
// block takes a tile, the next so many vectors of 16 bytes in row-major order, and holds it in
// shared memory; it counts its nonzeros, learns how many come before (look_back.h), and writes
// values and columns, to room for as many entries as one pass saves bytes with. They are copied to
// arrays of their size once that is known; where the room is too small, which a tile sees by the
// entries before it, the same kernel runs again and writes to those arrays.
//
// Rows that do not begin at multiples of 16 bytes are read item by item. A matrix that is not
// row-major is copied first, by tiles (tile_copy.h).
#include <utility>

#include "async_copy.h"
#include "dense.h"
#include "dense_tiles.h"
#include "found.h"
#include "look_back.h"
#include "piece_lanes.h"
#include "row_pieces.h"
#include "scalars.h"
#include "tile_copy.h"

namespace sparsecore::cuda {
namespace {

constexpr int kWarps = kTileThreads / kWarp;

// What the host reads.
struct Counted {
  Word nonzeros, is_more;  // whether a tile's entries had no room
};

template <class Bits>
struct Entries {
  Bits* values;
  IndexTarget columns;
};

template <class Bits>
struct Extraction {
  TileSums sums;
  Counted* counted;
  std::int64_t* first;  // where each row begins
  Entries<Bits> entries;
  Room room;
};

template <class Bits, int kVector>
struct Shared {
  // What a lane has read, and which of it are nonzeros. Nobody else reads it: in registers all that
  // is done with it would have to be unrolled.
  Vector<Bits, kVector> held[Tiles<Bits, kVector>::kSteps][kTileThreads];
  std::uint16_t kept[Tiles<Bits, kVector>::kSteps][kTileThreads];
  std::int64_t tile, first;
  int counts[kWarps];
};

// Keeps the vector of this lane's step `s`; returns how many nonzeros it has.
template <class Bits, int kVector>
__device__ __forceinline__ int hold(const Tiles<Bits, kVector>& tiles,
                                    const Vector<Bits, kVector>& items, int s,
                                    Shared<Bits, kVector>& shared) {
  const unsigned kept = kept_of(items, tiles.digits);
  shared.held[s][threadIdx.x] = items;
  shared.kept[s][threadIdx.x] = static_cast<std::uint16_t>(kept);
  return __popc(kept);
}

// Reads the tile's vectors of this lane, of which `vector` at `place` is the first, and counts
// their nonzeros.
template <class Bits, int kVector>
__device__ __forceinline__ int held_of(const Tiles<Bits, kVector>& tiles, std::int64_t vector,
                                       Place<Bits, kVector> place, Shared<Bits, kVector>& shared) {
  constexpr int kSteps = Tiles<Bits, kVector>::kSteps, kAtOnce = 4;
  int count = 0;
  if (tiles.are_contiguous()) {
    const auto* const from = static_cast<const Vector<Bits, kVector>*>(tiles.dense.data) + vector;
    const std::int64_t left = tiles.vectors() - vector;
#pragma unroll 1
    for (int s = 0; s < kSteps; s += kAtOnce) {
      Vector<Bits, kVector> read[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int at = (s + i) * kWarp;
        read[i] = at < left ? from[at] : Vector<Bits, kVector>{};
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) count += hold(tiles, read[i], s + i, shared);
    }
    return count;
  }
#pragma unroll 2
  for (int s = 0; s < kSteps; ++s) {
    count += hold(tiles, place.items(tiles), s, shared);
    place.step(tiles);
  }
  return count;
}

// Writes them, and where rows begin. The matrix has `left` vectors from the warp's first on, whose
// first nonzero goes to `p`.
template <class Bits, int kVector>
__device__ __forceinline__ void write_held(const Tiles<Bits, kVector>& tiles,
                                           Place<Bits, kVector> place,
                                           const Shared<Bits, kVector>& shared,
                                           const Extraction<Bits>& to, std::int64_t left,
                                           std::int64_t p, bool has_room) {
#pragma unroll 1
  for (int s = 0; s < Tiles<Bits, kVector>::kSteps && s * kWarp < left; ++s) {
    const Vector<Bits, kVector>& items = shared.held[s][threadIdx.x];
    const unsigned kept = shared.kept[s][threadIdx.x];
    const int mine = __popc(kept), below = items_before(mine);
    std::int64_t at = p + below;
    if (place.vector == 0 && place.is_in(tiles)) to.first[place.row] = at;
    for (unsigned bits = has_room ? kept : 0; bits != 0; bits &= bits - 1) {
      const int v = __ffs(static_cast<int>(bits)) - 1;
      to.entries.values[at] = items.items[v];
      to.entries.columns.set(at, place.column() + v);
      ++at;
    }
    p += of_last_lane(below + mine);
    place.step(tiles);
  }
}

template <class Bits, int kVector>
__global__ void __launch_bounds__(kTileThreads)
    extract(Tiles<Bits, kVector> tiles, Extraction<Bits> to) {
  auto& shared = *reinterpret_cast<Shared<Bits, kVector>*>(dynamic_shared());
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  if (threadIdx.x == 0) shared.tile = to.sums.next_tile();
  __syncthreads();
  const std::int64_t tile = shared.tile;
  const std::int64_t vector = (tile * kWarps + warp) * Tiles<Bits, kVector>::kSteps * kWarp + lane;
  const Place<Bits, kVector> place{vector / tiles.per_row, vector % tiles.per_row};
  const int mine = held_of(tiles, vector, place, shared);
  const int count = of_last_lane(items_before(mine) + mine);
  if (lane == 0) shared.counts[warp] = count;
  __syncthreads();
  int before = 0, all = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    before += w < warp ? shared.counts[w] : 0;
    all += shared.counts[w];
  }
  if (warp == 0) {
    const std::int64_t first = sum_before(to.sums, tile, all);
    if (lane == 0) shared.first = first;
  }
  __syncthreads();
  const std::int64_t first = shared.first, end = first + all;
  const bool has_room = end <= to.room.up_to(tile);
  if (threadIdx.x == 0) {
    if (!has_room) to.counted->is_more = 1;
    if (tile + 1 == gridDim.x) to.counted->nonzeros = static_cast<Word>(end);
  }
  write_held(tiles, place, shared, to, tiles.vectors() - (vector - lane), first + before, has_room);
}

__global__ void __launch_bounds__(kItemThreads)
    write_offsets(const std::int64_t* first, std::int64_t rows, std::int64_t nnz,
                  IndexTarget offsets) {
  const std::int64_t r = item_of_thread();
  if (r <= rows) offsets.set(r, r < rows ? first[r] : nnz);
}

// What is counted, the ticket, and the sums lie one after another.
constexpr std::int64_t kCounters = sizeof(Counted) / sizeof(Word) + 1;

template <class Bits, int kVector>
void start(const Tiles<Bits, kVector>& tiles, const Extraction<Bits>& to, Stream stream) {
  const auto words = static_cast<std::size_t>(kCounters + tiles.count());
  check(cudaMemsetAsync(to.counted, 0, words * sizeof(Word), stream), "clearing counters");
  launch("finding nonzeros", extract<Bits, kVector>,
         {tiles.count(), 1, kTileThreads, static_cast<int>(sizeof(Shared<Bits, kVector>))}, stream,
         tiles, to);
}

void copy(void* to, const void* from, std::int64_t bytes, Stream stream) {
  if (bytes == 0) return;  // there may be no addresses
  check(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream),
      "copying nonzeros");
}

template <class Bits>
Entries<Bits> entries_room(std::int64_t entries, std::int64_t cols, Memory& memory) {
  auto* const values = memory.take_items<Bits>(entries);
  return {values, index_room(entries, column_width(cols), memory)};
}

template <class Bits, int kVector>
Nonzeros nonzeros_of(const Tiles<Bits, kVector>& tiles, Memory& memory, Stream stream) {
  const std::int64_t rows = tiles.dense.rows, cols = tiles.dense.cols;
  const std::int64_t few = worth_copying(tiles), count = tiles.count();
  auto* const words = memory.take_items<Word>(kCounters + count);
  Extraction<Bits> to{{words + kCounters - 1, words + kCounters},
                      reinterpret_cast<Counted*>(words),
                      memory.take_items<std::int64_t>(rows),
                      entries_room<Bits>(few, cols, memory),
                      {few, few / 16, count > 0 ? few / count : 0}};
  start(tiles, to, stream);
  const Counted counted = read_back(to.counted, stream);
  const auto nnz = static_cast<std::int64_t>(counted.nonzeros);
  const Entries<Bits> found = entries_room<Bits>(nnz, cols, memory);
  const Entries<Bits> in_room = std::exchange(to.entries, found);
  if (counted.is_more != 0) {
    to.room = {nnz, nnz, 0};
    start(tiles, to, stream);
  } else {
    copy(found.values, in_room.values, nnz * std::int64_t{sizeof(Bits)}, stream);
    copy(found.columns.data, in_room.columns.data, nnz * found.columns.width, stream);
  }
  const IndexTarget offsets =
      index_room(rows + 1, width_for(static_cast<std::uint64_t>(nnz)), memory);
  launch("writing row offsets", write_offsets, grid_of(rows + 1), stream, to.first, rows, nnz,
         offsets);
  Pattern pattern{offsets.view(rows + 1), found.columns.view(nnz), {}};
  pattern.pieces = row_pieces(pattern.offsets, nnz, memory, stream);
  return {pattern, found.values};
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
  const std::uint64_t all = ~std::uint64_t{0} >> (64 - bits);
  const std::uint64_t digits = is_floating(dense.dtype) ? all >> 1 : all;
  return with_bits(item_size(dense.dtype), [&](auto item) {
    using Bits = decltype(item);
    constexpr int kVector = 16 / sizeof(Bits);
    const bool is_aligned = dense.cols % kVector == 0 && dense.row_stride % kVector == 0 &&
                            reinterpret_cast<std::uintptr_t>(dense.data) % 16 == 0;
    return is_aligned ? nonzeros_of(Tiles<Bits, kVector>(dense, digits), memory, stream)
                      : nonzeros_of(Tiles<Bits, 1>(dense, digits), memory, stream);
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
