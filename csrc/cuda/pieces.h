// Rows as pieces of work of bounded length, so that a long one does not keep all others waiting.
#pragma once

#include "../views.h"

namespace sparsecore::cuda {

// With first == nullptr every row is a piece. Otherwise row r has pieces first[r] ... first[r + 1]
// - 1, each of `length` entries but its last, and row[i] is the row of piece i; a row without
// entries has one, too.
struct Pieces {
  std::int64_t count = 0;
  std::int64_t length = 0;
  const std::int64_t* first = nullptr;
  const std::uint32_t* row = nullptr;
};

// A row longer than this is split. There are about as many pieces at least as an H200 runs warps of
// a product at once (132 x 16): one long row among many short ones is shared by all.
constexpr std::int64_t kLeastPiece = 256;
constexpr std::int64_t kWantedPieces = 2048;
constexpr std::int64_t piece_length(std::int64_t nnz) {
  std::int64_t length = kLeastPiece;
  while (length * kWantedPieces < nnz) length *= 2;
  return length;
}

struct Piece {
  std::int64_t row, begin, end;
  bool is_row;  // the whole of it
};

SPARSECORE_INLINE Piece piece_at(const Pieces& pieces, const IndexView& offsets, std::int64_t i) {
  const std::int64_t row = pieces.first == nullptr ? i : std::int64_t{pieces.row[i]};
  const std::int64_t begin = offsets[row], end = offsets[row + 1];
  if (pieces.first == nullptr) return {row, begin, end, true};
  const std::int64_t first = pieces.first[row];
  const std::int64_t from = begin + (i - first) * pieces.length;
  const std::int64_t to = from + pieces.length < end ? from + pieces.length : end;
  return {row, from, to, pieces.first[row + 1] - first == 1};
}

}  // namespace sparsecore::cuda
