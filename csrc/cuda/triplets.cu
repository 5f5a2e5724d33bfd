// A coordinate is one key, row << bits of a column | column. Keys that do not ascend are sorted
// with their positions; the first entry of each run of equal ones is numbered by a scan, only where
// there are any; row r begins at the first key not below r << bits, found by a search for each row.
//
// Bytes an entry of b-byte keys, sorted in p passes of a byte each: about (b + 4)(2 p + 1) + 8 + w
// for order and columns of width w; 16 more where coordinates repeat.
#include "found.h"
#include "row_pieces.h"
#include "scan.h"
#include "search.h"
#include "sort.h"
#include "triplets.h"

namespace sparsecore::cuda {
namespace {

__global__ void __launch_bounds__(kItemThreads)
    join(IndexView row, IndexView col, int column_bits, IndexTarget keys) {
  const std::int64_t i = item_of_thread();
  if (i < row.size) keys.set(i, row[i] << column_bits | col[i]);
}

__global__ void __launch_bounds__(kItemThreads) compare(IndexView keys, std::uint32_t* found) {
  const std::int64_t i = item_of_thread();
  bool descends = false, repeats = false;
  if (i > 0 && i < keys.size) {
    const std::int64_t before = keys[i - 1], key = keys[i];
    descends = before > key;
    repeats = before == key;
  }
  report(found, kDescends, descends);
  report(found, kRepeats, repeats);
}

// Of one item more than there are keys, so that the scan ends with the number of runs.
__global__ void __launch_bounds__(kItemThreads) mark_heads(IndexView keys, std::int64_t* heads) {
  const std::int64_t i = item_of_thread();
  if (i > keys.size) return;
  heads[i] = i < keys.size && (i == 0 || keys[i - 1] != keys[i]) ? 1 : 0;
}

// Sorted keys and the number of the run that each begins; without `number` all are runs of one.
struct Runs {
  IndexView keys;
  const std::int64_t* number;
  std::int64_t count;

  SPARSECORE_INLINE bool begins_at(std::int64_t i) const {
    return number == nullptr || number[i + 1] != number[i];
  }
  SPARSECORE_INLINE std::int64_t number_at(std::int64_t i) const {
    return number == nullptr ? i : number[i];
  }
};

// rows.data and starts may be null.
__global__ void __launch_bounds__(kItemThreads)
    take_apart(Runs runs, int column_bits, IndexTarget rows, IndexTarget columns,
               std::int64_t* starts) {
  const std::int64_t i = item_of_thread();
  if (i >= runs.keys.size || !runs.begins_at(i)) return;
  const std::int64_t run = runs.number_at(i), key = runs.keys[i], row = key >> column_bits;
  columns.set(run, key - (row << column_bits));
  if (rows.data != nullptr) rows.set(run, row);
  if (starts != nullptr) starts[run] = i;
}

__global__ void __launch_bounds__(kItemThreads)
    find_rows(Runs runs, int column_bits, std::int64_t rows, IndexTarget offsets) {
  const std::int64_t r = item_of_thread();
  if (r > rows) return;
  const std::int64_t size = runs.keys.size;
  const std::int64_t at = r == rows ? size : first_not_below(runs.keys, size, r << column_bits);
  offsets.set(r, runs.number_at(at));
}

std::uint32_t compared(const IndexView& keys, Memory& memory, Stream stream) {
  std::uint32_t* const word = nothing_found(memory, stream);
  launch("comparing coordinates", compare, grid_of(keys.size), stream, keys, word);
  return read_back(word, stream);
}

Runs numbered(const IndexView& keys, Memory& memory, Stream stream) {
  auto* const heads = memory.take_items<std::int64_t>(keys.size + 1);
  launch("marking duplicates", mark_heads, grid_of(keys.size + 1), stream, keys, heads);
  exclusive_sum(heads, keys.size + 1, memory, stream);
  return {keys, heads, read_back(heads + keys.size, stream)};
}

}  // namespace

int key_bits(std::int64_t rows, std::int64_t cols) { return bits_for(rows) + bits_for(cols); }

std::optional<CanonicalTriplets> canonical_triplets(const IndexView& row, const IndexView& col,
                                                    std::int64_t rows, std::int64_t cols,
                                                    TripletOptions options, Memory& memory,
                                                    Stream stream) {
  const int column_bits = bits_for(cols), bits = key_bits(rows, cols);
  const std::int64_t size = row.size;
  CanonicalTriplets result;
  IndexTarget keys = index_room(size, key_width(bits, size), memory);
  launch("joining coordinates", join, grid_of(size), stream, row, col, column_bits, keys);
  Runs runs{keys.view(size), nullptr, size};
  std::uint32_t found = compared(runs.keys, memory, stream);
  if ((found & kDescends) != 0) {
    const SortedKeys sorted = sorted_keys(keys.data, bits, size, memory, stream);
    runs.keys = sorted.keys;
    result.order = sorted.order;
    found = compared(runs.keys, memory, stream);
  }
  std::int64_t* starts = nullptr;
  if ((found & kRepeats) != 0) {
    if (!options.with_duplicates) return std::nullopt;
    runs = numbered(runs.keys, memory, stream);
    starts = memory.take_items<std::int64_t>(runs.count);
    result.starts = starts;
  }
  IndexTarget row_room, columns = index_room(runs.count, column_width(cols), memory);
  if (options.with_rows) row_room = index_room(runs.count, column_width(rows), memory);
  launch("writing columns", take_apart, grid_of(size), stream, runs, column_bits, row_room, columns,
         starts);
  result.rows = row_room.view(options.with_rows ? runs.count : 0);
  result.pattern.columns = columns.view(runs.count);
  if (!options.with_offsets) return result;
  const IndexTarget offsets =
      index_room(rows + 1, width_for(static_cast<std::uint64_t>(runs.count)), memory);
  launch("writing row offsets", find_rows, grid_of(rows + 1), stream, runs, column_bits, rows,
         offsets);
  result.pattern.offsets = offsets.view(rows + 1);
  result.pattern.pieces = row_pieces(result.pattern.offsets, runs.count, memory, stream);
  return result;
}

}  // namespace sparsecore::cuda
