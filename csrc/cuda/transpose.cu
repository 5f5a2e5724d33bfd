// Entries sorted by column, which keeps the rows of each in order (sort.h), over the bits that the
// columns have. Each one's row is then its column, and row c begins at the first column not below
// c.
#include "found.h"
#include "row_pieces.h"
#include "rows.h"
#include "search.h"
#include "sort.h"
#include "transpose.h"

namespace sparsecore::cuda {
namespace {

__global__ void __launch_bounds__(kItemThreads) copy_keys(IndexView columns, IndexTarget keys) {
  const std::int64_t i = item_of_thread();
  if (i < columns.size) keys.set(i, columns[i]);
}

__global__ void __launch_bounds__(kItemThreads)
    pick_rows(const std::int64_t* rows, const std::int64_t* order, std::int64_t count,
              IndexTarget to) {
  const std::int64_t i = item_of_thread();
  if (i < count) to.set(i, rows[order[i]]);
}

__global__ void __launch_bounds__(kItemThreads)
    find_columns(IndexView keys, std::int64_t columns, IndexTarget offsets) {
  const std::int64_t c = item_of_thread();
  if (c <= columns) offsets.set(c, first_not_below(keys, keys.size, c));
}

}  // namespace

Transposed transpose(const CsrView& a, const Pieces& pieces, Memory& memory, Stream stream) {
  const std::int64_t nnz = a.nnz();
  const int bits = bits_for(a.cols);
  const IndexTarget keys = index_room(nnz, key_width(bits, nnz), memory);
  launch("transposing", copy_keys, grid_of(nnz), stream, a.columns, keys);
  const SortedKeys sorted = sorted_keys(keys.data, bits, nnz, memory, stream);
  auto* const rows = memory.take_items<std::int64_t>(nnz);
  row_ids(a, pieces, rows, stream);
  const IndexTarget columns = index_room(nnz, column_width(a.rows), memory);
  launch("transposing", pick_rows, grid_of(nnz), stream, rows, sorted.order, nnz, columns);
  const IndexTarget offsets =
      index_room(a.cols + 1, width_for(static_cast<std::uint64_t>(nnz)), memory);
  launch("transposing", find_columns, grid_of(a.cols + 1), stream, sorted.keys, a.cols, offsets);
  Transposed result{{offsets.view(a.cols + 1), columns.view(nnz), {}}, sorted.order};
  result.pattern.pieces = row_pieces(result.pattern.offsets, nnz, memory, stream);
  // It is made once and kept: the next to read it may be on another stream.
  check(cudaStreamSynchronize(stream), "transposing");
  return result;
}

}  // namespace sparsecore::cuda
