// Two passes, one thread an item, each reading what is given and writing the stored width.
//
// Offsets: 0 = indptr[0] <= indptr[1] <= ... <= indptr[rows] = nnz. One that is not in 0 ... nnz is
// stored as 0, so that later passes stay inside their arrays before anybody has read what was
// found. Columns: each in 0 ... cols - 1 and above the one before it, unless it is the first of its
// row: only where it is not above is the place looked up among the offsets.
#include "csr_arrays.h"
#include "found.h"
#include "row_pieces.h"
#include "search.h"

namespace sparsecore::cuda {
namespace {

__global__ void __launch_bounds__(kItemThreads)
    check_offsets(GivenIndices indptr, std::int64_t nnz, std::int64_t piece, IndexTarget to,
                  std::uint32_t* found) {
  const std::int64_t r = item_of_thread(), rows = indptr.view.size - 1;
  bool is_bad = false, is_long = false;
  if (r <= rows) {
    const std::int64_t offset = indptr[r];
    const bool is_outside = offset < 0 || offset > nnz;
    is_bad = is_outside || (r == 0 && offset != 0) || (r == rows && offset != nnz);
    if (r < rows) {
      const std::int64_t next = indptr[r + 1];
      is_bad |= next < offset;
      is_long = !is_outside && next - offset > piece;
    }
    to.set(r, is_outside ? 0 : offset);
  }
  report(found, kInvalid, is_bad);
  report(found, kLongRow, is_long);
}

__global__ void __launch_bounds__(kItemThreads)
    check_columns(GivenIndices indices, IndexView offsets, std::int64_t cols, IndexTarget to,
                  std::uint32_t* found) {
  const std::int64_t p = item_of_thread();
  bool is_bad = false, descends = false;
  if (p < indices.view.size) {
    const std::int64_t column = indices[p];
    is_bad = column < 0 || column >= cols;
    if (p > 0 && indices[p - 1] >= column) {
      const std::int64_t at = first_not_below(offsets, offsets.size, p);
      descends = at == offsets.size || offsets[at] != p;
    }
    to.set(p, is_bad ? 0 : column);
  }
  report(found, kInvalid, is_bad);
  report(found, kDescends, descends);
}

}  // namespace

CsrArrays csr_arrays(const GivenIndices& indptr, const GivenIndices& indices, std::int64_t rows,
                     std::int64_t cols, Memory& memory, Stream stream) {
  const std::int64_t nnz = indices.view.size;
  const IndexTarget offsets =
      index_room(rows + 1, width_for(static_cast<std::uint64_t>(nnz)), memory);
  const IndexTarget columns = index_room(nnz, column_width(cols), memory);
  std::uint32_t* const word = nothing_found(memory, stream);
  launch("checking indptr", check_offsets, grid_of(rows + 1), stream, indptr, nnz,
         piece_length(nnz), offsets, word);
  launch("checking indices", check_columns, grid_of(nnz), stream, indices, offsets.view(rows + 1),
         cols, columns, word);
  const std::uint32_t found = read_back(word, stream);
  CsrArrays result{{offsets.view(rows + 1), columns.view(nnz), {}},
                   (found & kInvalid) == 0,
                   (found & kDescends) == 0};
  if (!result.is_valid) return result;
  result.pattern.pieces.count = rows;
  if ((found & kLongRow) != 0) {
    result.pattern.pieces = split_rows(result.pattern.offsets, nnz, memory, stream);
  }
  return result;
}

}  // namespace sparsecore::cuda
