// One thread an index: reads what is given and writes the stored width, both coalesced.
#include "found.h"
#include "index_arrays.h"

namespace sparsecore::cuda {
namespace {

__global__ void __launch_bounds__(kItemThreads)
    narrow(GivenIndices given, std::int64_t limit, IndexTarget to, std::uint32_t* found) {
  const std::int64_t i = item_of_thread();
  bool is_outside = false;
  if (i < given.view.size) {
    const std::int64_t index = given[i];
    is_outside = index < 0 || index >= limit;
    to.set(i, is_outside ? 0 : index);
  }
  report(found, kInvalid, is_outside);
}

}  // namespace

Narrowed narrowed(const GivenIndices& given, std::int64_t limit, Memory& memory, Stream stream) {
  const std::int64_t size = given.view.size;
  const IndexTarget to = index_room(size, column_width(limit), memory);
  std::uint32_t* const found = nothing_found(memory, stream);
  launch("narrowing indices", narrow, grid_of(size), stream, given, limit, to, found);
  return {to.view(size), (read_back(found, stream) & kInvalid) == 0};
}

}  // namespace sparsecore::cuda
