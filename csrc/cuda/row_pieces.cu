// Where a row is longer than a piece: ceil(entries / length) pieces a row, summed to where each
// row's begin (8 bytes a row), and the row of each piece found by a search in those (4 bytes a
// piece). Everything else is left whole, and costs one pass over the offsets.
#include "found.h"
#include "row_pieces.h"
#include "scan.h"
#include "search.h"

namespace sparsecore::cuda {
namespace {

__global__ void __launch_bounds__(kItemThreads)
    find_long_rows(IndexView offsets, std::int64_t length, std::uint32_t* found) {
  const std::int64_t row = item_of_thread();
  const bool is_long = row < offsets.size - 1 && offsets[row + 1] - offsets[row] > length;
  report(found, kLongRow, is_long);
}

__global__ void __launch_bounds__(kItemThreads)
    count_pieces(IndexView offsets, std::int64_t length, std::int64_t* counts) {
  const std::int64_t row = item_of_thread(), rows = offsets.size - 1;
  if (row > rows) return;
  const std::int64_t entries = row < rows ? offsets[row + 1] - offsets[row] : 0;
  counts[row] = entries <= length ? 1 : (entries + length - 1) / length;
}

__global__ void __launch_bounds__(kItemThreads)
    name_rows(IndexView first, std::int64_t count, std::uint32_t* row) {
  const std::int64_t i = item_of_thread();
  if (i < count) row[i] = static_cast<std::uint32_t>(first_not_below(first, first.size, i + 1) - 1);
}

}  // namespace

Pieces split_rows(const IndexView& offsets, std::int64_t nnz, Memory& memory, Stream stream) {
  Pieces pieces;
  pieces.length = piece_length(nnz);
  auto* const first = memory.take_items<std::int64_t>(offsets.size);
  launch("splitting rows", count_pieces, grid_of(offsets.size), stream, offsets, pieces.length,
         first);
  exclusive_sum(first, offsets.size, memory, stream);
  pieces.first = first;
  pieces.count = read_back(first + offsets.size - 1, stream);
  auto* const row = memory.take_items<std::uint32_t>(pieces.count);
  launch("splitting rows", name_rows, grid_of(pieces.count), stream,
         IndexView{first, 8, offsets.size}, pieces.count, row);
  pieces.row = row;
  return pieces;
}

Pieces row_pieces(const IndexView& offsets, std::int64_t nnz, Memory& memory, Stream stream) {
  Pieces whole;
  whole.count = offsets.size - 1;
  const std::int64_t length = piece_length(nnz);
  if (nnz <= length) return whole;
  std::uint32_t* const found = nothing_found(memory, stream);
  launch("looking for long rows", find_long_rows, grid_of(whole.count), stream, offsets, length,
         found);
  if ((read_back(found, stream) & kLongRow) == 0) return whole;
  return split_rows(offsets, nnz, memory, stream);
}

}  // namespace sparsecore::cuda
