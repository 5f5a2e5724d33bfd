// Block permute: sums[row][j] = sum over the row's slots of value * x[j][base + field], sixteen
// rows at a time, a row to a lane (block_permute.h and chunk_codes.h have the layout).
//
// Why: what bounds a product with one column is fetching x by column number. A gather takes a load
// for each entry, sixteen for a vector of them: 8 to 10 cycles. A permutation looks sixteen entries
// up in two registers in one cycle. So a chunk of five steps loads its 64 neighbouring elements of
// x into four registers, and a step costs two permutations, a blend, a rotation of the codes, the
// selection's mask and one multiply-add: 3 cycles on two ports for sixteen entries. With several
// columns the codes serve all of them: 1 + 2 * N cycles.
// The wide form has 128 neighbours in eight registers: 5 cycles on Zen 5. The gathered form has the
// compact codes and the lanes but not the permutation.
// Bytes: 4.8 (permuted), 5 or 6 a slot of fp32, read once; x stays in the first-level cache. Flops:
// 2 * entries * N. Out of cache it is bound by its bytes, hence the prefetches.
// Preconditions: x[j] has 64 elements behind every base, 128 wide, or, gathered, a zero at base +
// window; sums have room for 128 rows and the 16 that lanes without a row are given.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "lookup.h"

namespace sparsecore::SPARSECORE_TARGET {

// Chains of additions a lane: one is a step's latency of 4 cycles, which two or more columns hide.
constexpr int chains_of(int columns) { return columns == 1 ? 2 : 1; }

// Bytes ahead of the present chunk that are asked for: one processor's stream prefetcher stops at
// the end of each 4 KB page, 1 MB of values were read in 0.6 of the time with this.
constexpr std::int64_t kChunkBytesAhead = 2560;

SPARSECORE_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

template <class T>
SPARSECORE_INLINE void prefetch_chunk(const std::uint32_t* codes, const T* values, int steps) {
  prefetch(reinterpret_cast<const char*>(codes) + kChunkBytesAhead / 4);
  const char* p = reinterpret_cast<const char*>(values) + kChunkBytesAhead;
  for (int i = 0; i < steps * kChunkRows * static_cast<int>(sizeof(T)); i += 64) prefetch(p + i);
}

// Writes a group's sums to their rows.
template <class Acc, int N, int kParts, int kChains>
SPARSECORE_INLINE void put_rows(Vec<Acc> (&sum)[N][kParts][kChains], const std::uint8_t* rows,
                                Acc* sums) {
  constexpr int W = kLanes<Acc>;
  alignas(64) Acc lanes[N][kChunkRows];
  for (int j = 0; j < N; ++j) {
    for (int h = 0; h < kParts; ++h) {
      for (int i = 1; i < kChains; ++i) sum[j][h][0] += sum[j][h][i];
      store(lanes[j] + h * W, sum[j][h][0]);
    }
  }
  for (int i = 0; i < kChunkRows; ++i) {
    for (int j = 0; j < N; ++j) sums[rows[i] * N + j] = lanes[j][i];
  }
}

// Any target: a gather for each step and vector of rows.
template <Gathers kWay, class Acc, class T, int N>
void gathered_groups(const BlockPermuteTile<Acc>& tile) {
  constexpr int W = kLanes<Acc>, kParts = kChunkRows / W, kSteps = 2, kChains = chains_of(N);
  static_assert(chunk_steps(ChunkForm::kGathered) == kSteps);
  const T* const values = static_cast<const T*>(tile.values);
  for (std::int64_t g = 0; g < tile.groups; ++g) {
    Vec<Acc> sum[N][kParts][kChains] = {};
    for (std::int64_t c = tile.starts[g]; c < tile.starts[g + 1]; ++c) {
      const std::uint32_t* codes = tile.codes + c * kChunkRows;
      const T* value = values + c * kSteps * kChunkRows;
      const Acc* x = tile.x + tile.bases[c];
      prefetch_chunk(codes, value, kSteps);
      for (int h = 0; h < kParts; ++h) {
        const Vec<Acc> low = load_widened<Acc, W>(value + h * W);
        const Vec<Acc> high = load_widened<Acc, W>(value + kChunkRows + h * W);
        for (int j = 0; j < N; ++j) {
          const Acc* xj = x + j * tile.x_stride;
          Vec<Acc>(&s)[kChains] = sum[j][h];
          s[0] = fma<Acc>(low, gather_step<0, kWay>(xj, codes + h * W), s[0]);
          Vec<Acc>& last = s[kChains - 1];
          last = fma<Acc>(high, gather_step<1, kWay>(xj, codes + h * W), last);
        }
      }
    }
    put_rows<Acc>(sum, tile.rows + g * kChunkRows, tile.sums);
  }
}

#if defined(__AVX512F__)
template <ChunkForm kForm, class Acc, class T, int N>
void permuted_groups(const BlockPermuteTile<Acc>& tile) {
  constexpr int kSteps = chunk_steps(kForm), kChains = chains_of(N);
  const T* const values = static_cast<const T*>(tile.values);
  for (std::int64_t g = 0; g < tile.groups; ++g) {
    Vec<Acc> sum[N][1][kChains] = {};
    for (std::int64_t c = tile.starts[g]; c < tile.starts[g + 1]; ++c) {
      const T* value = values + c * kSteps * kChunkRows;
      prefetch_chunk(tile.codes + c * kChunkRows, value, kSteps);
      Neighbours<Acc, kForm> near[N];
      for (int j = 0; j < N; ++j) near[j].load(tile.x + j * tile.x_stride + tile.bases[c]);
      PermuteCodes<kForm> codes(tile.codes + c * kChunkRows);
      for (int s = 0; s < kSteps; ++s, codes.next_step()) {
        const Vec<Acc> v = load_widened<Acc, kChunkRows>(value + s * kChunkRows);
        for (int j = 0; j < N; ++j) {
          Vec<Acc>& to = sum[j][0][s % kChains];
          to = fma<Acc>(v, codes.pick(near[j]), to);
        }
      }
    }
    put_rows<Acc>(sum, tile.rows + g * kChunkRows, tile.sums);
  }
}

#endif

// The permuted form where registers cannot be looked up in: fp64 sums, and plans made for another
// target. An entry at a time.
template <ChunkForm kForm, class Acc, class T, int N>
void permuted_groups_by_entry(const BlockPermuteTile<Acc>& tile) {
  constexpr int kSteps = chunk_steps(kForm);
  const T* value = static_cast<const T*>(tile.values) + tile.starts[0] * kSteps * kChunkRows;
  for (std::int64_t g = 0; g < tile.groups; ++g) {
    Acc sum[N][kChunkRows] = {};
    for (std::int64_t c = tile.starts[g]; c < tile.starts[g + 1]; ++c) {
      const std::uint32_t* codes = tile.codes + c * kChunkRows;
      for (int s = 0; s < kSteps; ++s, value += kChunkRows) {
        for (int i = 0; i < kChunkRows; ++i) {
          const std::uint32_t field = decode(kForm, s, codes[i]);
          if (field == permuted_padding(kForm)) continue;
          const Acc* x = tile.x + tile.bases[c] + field;
          for (int j = 0; j < N; ++j) sum[j][i] += load_as<Acc>(value[i]) * x[j * tile.x_stride];
        }
      }
    }
    const std::uint8_t* rows = tile.rows + g * kChunkRows;
    for (int i = 0; i < kChunkRows; ++i) {
      for (int j = 0; j < N; ++j) tile.sums[rows[i] * N + j] = sum[j][i];
    }
  }
}

template <ChunkForm kForm, class Acc, class T, int N>
SPARSECORE_INLINE void any_permuted_groups(const BlockPermuteTile<Acc>& tile) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Acc) == 4) return permuted_groups<kForm, Acc, T, N>(tile);
#endif
  permuted_groups_by_entry<kForm, Acc, T, N>(tile);
}

template <class Acc, class T, int N>
SPARSECORE_INLINE void block_permute_columns(const BlockPermuteTile<Acc>& tile) {
  assert(N <= permute_columns(tile.form));
  if (tile.form == ChunkForm::kPermuted) {
    return any_permuted_groups<ChunkForm::kPermuted, Acc, T, N>(tile);
  }
  if constexpr (N <= permute_columns(ChunkForm::kPermutedWide)) {
    if (tile.form == ChunkForm::kPermutedWide) {
      return any_permuted_groups<ChunkForm::kPermutedWide, Acc, T, N>(tile);
    }
  }
  with_gathers(tile.gathers,
               [&]<Gathers kWay>(GatherWay<kWay>) { gathered_groups<kWay, Acc, T, N>(tile); });
}

template <class Acc, class T>
void block_permute_values(const BlockPermuteTile<Acc>& tile) {
  switch (tile.columns) {
    case 1:
      return block_permute_columns<Acc, T, 1>(tile);
    case 2:
      return block_permute_columns<Acc, T, 2>(tile);
    case 3:
      return block_permute_columns<Acc, T, 3>(tile);
    default:
      assert(tile.columns == kPermuteColumns);
      return block_permute_columns<Acc, T, kPermuteColumns>(tile);
  }
}

template <class Acc>
void block_permute(const BlockPermuteTile<Acc>& tile) {
  with_values<Acc>(tile.dtype, [&]<class T>(T) { block_permute_values<Acc, T>(tile); });
}

}  // namespace sparsecore::SPARSECORE_TARGET
