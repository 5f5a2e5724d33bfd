// How a chunk of a block-permuted matrix (block_permute.h) names its columns: the fields of its
// 32-bit codes, one code for each of sixteen rows, one field for each step.
//
// Always inlined: kernels include this, once per CPU target.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace sparsecore {

constexpr int kChunkRows = 16;

enum class ChunkForm : std::uint8_t {
  // Five steps of one of 64 neighbours: their part of X is four registers of sixteen lanes, and a
  // field is what a permutation of two registers (5 bits) and a choice between two such
  // permutations (the last bit of the code, once it is rotated by six bits a step) want to see.
  kPermuted,
  // Two steps of 16 bits, gathered from memory.
  kGathered,
};

constexpr SPARSECORE_INLINE int chunk_steps(ChunkForm form) {
  return form == ChunkForm::kPermuted ? 5 : 2;
}

// A field that belongs to no entry of a permuted chunk: kernels make the 64th neighbour a zero.
constexpr std::uint32_t kPermutedPadding = 63;

constexpr SPARSECORE_INLINE std::uint32_t encode(ChunkForm form, int step, std::uint32_t field) {
  if (form == ChunkForm::kGathered) return field << (16 * step);
  return (field & 31u) << (6 * step) | (field >> 5) << ((6 * step + 31) % 32);
}

constexpr SPARSECORE_INLINE std::uint32_t decode(ChunkForm form, int step, std::uint32_t code) {
  if (form == ChunkForm::kGathered) return code >> (16 * step) & 0xffffu;
  return (code >> (6 * step) & 31u) | (code >> ((6 * step + 31) % 32) & 1u) << 5;
}

}  // namespace sparsecore
