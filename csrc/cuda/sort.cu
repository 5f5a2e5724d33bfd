// CUB's radix sort over the bits that the keys have, eight of them a pass: each pass reads and
// writes the key and its position, which takes four bytes while it moves if there are fewer than
// 2^32.
#include <cub/device/device_radix_sort.cuh>

#include "found.h"
#include "sort.h"

namespace sparsecore::cuda {
namespace {

template <class Position>
__global__ void __launch_bounds__(kItemThreads) count_up(Position* to, std::int64_t count) {
  const std::int64_t i = item_of_thread();
  if (i < count) to[i] = static_cast<Position>(i);
}

template <class Position>
__global__ void __launch_bounds__(kItemThreads)
    widen(const Position* from, std::int64_t* to, std::int64_t count) {
  const std::int64_t i = item_of_thread();
  if (i < count) to[i] = static_cast<std::int64_t>(from[i]);
}

template <class Key, class Position>
SortedKeys sort(const Key* keys, int bits, std::int64_t count, Memory& memory, Stream stream) {
  auto* const before = memory.take_items<Position>(count);
  auto* const after = memory.take_items<Position>(count);
  auto* const sorted = memory.take_items<Key>(count);
  launch("sorting", count_up<Position>, grid_of(count), stream, before, count);
  const auto run = [&](void* scratch, std::size_t& bytes) {
    check(cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, sorted, before, after, count, 0,
                                          bits, stream),
          "sorting");
  };
  std::size_t bytes = 0;
  run(nullptr, bytes);
  run(memory.take(static_cast<std::int64_t>(bytes)), bytes);
  auto* const order = memory.take_items<std::int64_t>(count);
  launch("sorting", widen<Position>, grid_of(count), stream, after, order, count);
  return {{sorted, static_cast<int>(sizeof(Key)), count}, order};
}

}  // namespace

SortedKeys sorted_keys(void* keys, int bits, std::int64_t count, Memory& memory, Stream stream) {
  bits = bits > 0 ? bits : 1;  // CUB's least
  if (count > 0xffffffffll) {
    return sort<std::uint64_t, std::int64_t>(static_cast<const std::uint64_t*>(keys), bits, count,
                                             memory, stream);
  }
  if (key_width(bits, count) == 8) {
    return sort<std::uint64_t, std::uint32_t>(static_cast<const std::uint64_t*>(keys), bits, count,
                                              memory, stream);
  }
  return sort<std::uint32_t, std::uint32_t>(static_cast<const std::uint32_t*>(keys), bits, count,
                                            memory, stream);
}

}  // namespace sparsecore::cuda
