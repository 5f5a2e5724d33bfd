// Entries are written by pieces of the result's rows, a warp or a quarter of one each: coalesced
// reads and writes.
//
// gather_rows: a pass over the ids finds each row's first entry and its length, whose sums are the
// offsets; a second copies, columns in their width and values by their size.
#include "found.h"
#include "piece_lanes.h"
#include "row_pieces.h"
#include "rows.h"
#include "scan.h"

namespace sparsecore::cuda {
namespace {

template <int kLanes>
__global__ void __launch_bounds__(kPieceThreads)
    write_rows(IndexView offsets, Pieces pieces, std::int64_t* to) {
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = piece_at(pieces, offsets, i);
  for (std::int64_t p = piece.begin + lane_of<kLanes>(); p < piece.end; p += kLanes) {
    to[p] = piece.row;
  }
}

// Of one item more than there are ids, so that the scan ends with the number of entries.
__global__ void __launch_bounds__(kItemThreads)
    look_up(IndexView offsets, GivenIndices ids, std::int64_t* first, std::int64_t* lengths,
            std::uint32_t* found) {
  const std::int64_t i = item_of_thread(), rows = offsets.size - 1;
  bool is_outside = false;
  if (i < ids.view.size) {
    const std::int64_t id = ids[i], row = id < 0 ? id + rows : id;
    is_outside = row < 0 || row >= rows;
    first[i] = is_outside ? 0 : offsets[row];
    lengths[i] = is_outside ? 0 : offsets[row + 1] - offsets[row];
  } else if (i == ids.view.size) {
    lengths[i] = 0;
  }
  report(found, kInvalid, is_outside);
}

__global__ void __launch_bounds__(kItemThreads)
    narrow_offsets(const std::int64_t* from, std::int64_t count, IndexTarget to) {
  const std::int64_t i = item_of_thread();
  if (i < count) to.set(i, from[i]);
}

struct CountAndFound {
  std::int64_t count;
  std::uint32_t found;
};

// Where entries come from, and where they go: `values` or `order` may be null.
struct Move {
  CsrView a;
  const std::int64_t* first;
  IndexView offsets;  // of the result
  IndexTarget columns;
  void* values;
  std::int64_t* order;
};

template <class Bits, int kLanes>
__global__ void __launch_bounds__(kPieceThreads) copy_rows(Move move, Pieces pieces) {
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = piece_at(pieces, move.offsets, i);
  const std::int64_t shift = move.first[piece.row] - move.offsets[piece.row];
  for (std::int64_t p = piece.begin + lane_of<kLanes>(); p < piece.end; p += kLanes) {
    move.columns.set(p, move.a.columns[p + shift]);
    if (move.order != nullptr) {
      move.order[p] = p + shift;
    } else {
      static_cast<Bits*>(move.values)[p] = static_cast<const Bits*>(move.a.values)[p + shift];
    }
  }
}

}  // namespace

void row_ids(const CsrView& a, const Pieces& pieces, std::int64_t* to, Stream stream) {
  if (are_short(pieces, a.nnz())) {
    launch("naming rows", write_rows<kFewLanes>, grid_of<kFewLanes>(pieces), stream, a.offsets,
           pieces, to);
  } else {
    launch("naming rows", write_rows<kWarp>, grid_of<kWarp>(pieces), stream, a.offsets, pieces, to);
  }
}

std::optional<GatheredRows> gather_rows(const CsrView& a, const GivenIndices& ids, Memory& memory,
                                        Stream stream) {
  const std::int64_t rows = ids.view.size;
  auto* const first = memory.take_items<std::int64_t>(rows);
  // What was found lies behind the offsets, so that both are read at once.
  auto* const offsets = memory.take_items<std::int64_t>(rows + 2);
  auto* const word = reinterpret_cast<std::uint32_t*>(offsets + rows + 1);
  check(cudaMemsetAsync(word, 0, sizeof(std::int64_t), stream), "clearing a word");
  launch("looking up rows", look_up, grid_of(rows + 1), stream, a.offsets, ids, first, offsets,
         word);
  exclusive_sum(offsets, rows + 1, memory, stream);
  const CountAndFound entries =
      read_back(reinterpret_cast<const CountAndFound*>(offsets + rows), stream);
  if ((entries.found & kInvalid) != 0) return std::nullopt;
  const std::int64_t nnz = entries.count;
  const IndexTarget stored =
      index_room(rows + 1, width_for(static_cast<std::uint64_t>(nnz)), memory);
  launch("narrowing offsets", narrow_offsets, grid_of(rows + 1), stream, offsets, rows + 1, stored);
  const IndexTarget columns = index_room(nnz, a.columns.width, memory);
  GatheredRows result{{stored.view(rows + 1), columns.view(nnz), {}}};
  result.pattern.pieces = row_pieces(result.pattern.offsets, nnz, memory, stream);
  Move move{a, first, result.pattern.offsets, columns, nullptr, nullptr};
  if (a.values == nullptr) {
    result.order = move.order = memory.take_items<std::int64_t>(nnz);
  } else {
    result.values = move.values = memory.take(nnz * item_size(a.dtype));
  }
  const Pieces& pieces = result.pattern.pieces;
  with_bits(item_size(a.dtype), [&](auto item) {
    using Bits = decltype(item);
    if (are_short(pieces, nnz)) {
      launch("copying rows", copy_rows<Bits, kFewLanes>, grid_of<kFewLanes>(pieces), stream, move,
             pieces);
    } else {
      launch("copying rows", copy_rows<Bits, kWarp>, grid_of<kWarp>(pieces), stream, move, pieces);
    }
  });
  return result;
}

}  // namespace sparsecore::cuda
