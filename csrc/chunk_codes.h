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
  // Four steps of one of 128 neighbours, the first of them at a multiple of sixteen: eight
  // registers, and a second choice (the last bit but one, seven bits a step).
  kPermutedWide,
  // Two steps of 16 bits, gathered from memory.
  kGathered,
};

constexpr SPARSECORE_INLINE int chunk_steps(ChunkForm form) {
  return form == ChunkForm::kPermuted ? 5 : form == ChunkForm::kPermutedWide ? 4 : 2;
}

constexpr SPARSECORE_INLINE int field_bits(ChunkForm form) {
  return form == ChunkForm::kPermuted ? 6 : form == ChunkForm::kPermutedWide ? 7 : 16;
}

// A field that belongs to no entry of a permuted chunk: kernels make the last neighbour a zero.
constexpr SPARSECORE_INLINE std::uint32_t permuted_padding(ChunkForm form) {
  return form == ChunkForm::kPermuted ? 63 : 127;
}

// The place of a permuted field's bit: five in order, the others downwards from below them.
constexpr SPARSECORE_INLINE int bit_place(ChunkForm form, int step, int bit) {
  return (field_bits(form) * step + (bit < 5 ? bit : 36 - bit)) % 32;
}

constexpr SPARSECORE_INLINE std::uint32_t encode(ChunkForm form, int step, std::uint32_t field) {
  if (form == ChunkForm::kGathered) return field << (16 * step);
  std::uint32_t code = (field & 31u) << bit_place(form, step, 0);
  for (int b = 5; b < field_bits(form); ++b) code |= (field >> b & 1u) << bit_place(form, step, b);
  return code;
}

constexpr SPARSECORE_INLINE std::uint32_t decode(ChunkForm form, int step, std::uint32_t code) {
  if (form == ChunkForm::kGathered) return code >> (16 * step) & 0xffffu;
  std::uint32_t field = code >> bit_place(form, step, 0) & 31u;
  for (int b = 5; b < field_bits(form); ++b) field |= (code >> bit_place(form, step, b) & 1u) << b;
  return field;
}

}  // namespace sparsecore
