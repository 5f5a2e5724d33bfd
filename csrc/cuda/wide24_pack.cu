// 2:4 from the canonical order to slabs (wide24_layout.h), once for each matrix: a thread takes
// what a lane will load, 16 bytes of values or a word of metadata, and gathers it; its writes are
// coalesced. Bytes: what is packed, read and written once, in pieces of 4 bytes on the canonical
// side.
#include "launch.h"
#include "scalars.h"
#include "wide24.h"

namespace sparsecore::cuda {
namespace {

constexpr int kThreads = 256;

// The rows and columns where slab `i` begins.
struct SlabOrigin {
  std::int64_t row, column;
};
__device__ __forceinline__ SlabOrigin origin(const Wide24View& wide, std::int64_t i) {
  return {i / wide.across() * kSlabRows, i % wide.across() * kSlabColumns};
}

__global__ void __launch_bounds__(kThreads)
    pack_metadata(Sparse24View a, Wide24View wide, std::uint32_t* words) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= wide.metadata_words()) return;
  const SlabOrigin at = origin(wide, i / kGroupThreads);
  std::uint32_t word = 0;
#pragma unroll
  for (int nibble = 0; nibble < 8; ++nibble) {
    const SlabGroup place = slab_group(static_cast<int>(i % kGroupThreads) * 8 + nibble);
    const std::int64_t row = at.row + place.row, group = at.column / 4 + place.group;
    std::uint32_t places = kEmptyPlaces;
    if (row < a.rows && group < a.groups()) {
      const unsigned byte = a.metadata[row * a.metadata_bytes_per_row() + group / 2];
      places = byte >> (group % 2 * 4) & 15u;
    }
    word |= places << (4 * nibble);
  }
  words[i] = word;
}

__global__ void __launch_bounds__(kThreads)
    pack_values(Sparse24View a, Wide24View wide, Vector<std::uint16_t, kLaneSlots>* vectors) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  constexpr int kVectors = kProducts * kGroupThreads;
  if (i >= wide.down() * wide.across() * kVectors) return;
  const SlabOrigin at = origin(wide, i / kVectors);
  const std::int64_t slots = 2 * a.groups();
  Vector<std::uint16_t, kLaneSlots> packed;
#pragma unroll
  for (int item = 0; item < kLaneSlots; ++item) {
    const SlabSlot place = slab_slot(static_cast<int>(i % kVectors) * kLaneSlots + item);
    const std::int64_t row = at.row + place.row, slot = at.column / 2 + place.slot;
    const bool is_inside =
        row < a.rows && slot < slots &&
        sparse24_column(a.metadata + row * a.metadata_bytes_per_row(), slot) < a.cols;
    packed.items[item] =
        is_inside ? static_cast<const std::uint16_t*>(a.values)[row * slots + slot] : 0;
  }
  vectors[i] = packed;
}

}  // namespace

Wide24View wide24_of(const Sparse24View& a, Memory& memory, Stream stream) {
  Wide24View wide{a.rows, a.cols, nullptr, nullptr, a.dtype};
  // One item of each at least, so that there are addresses.
  const auto at_least_one = [](std::int64_t count) { return count > 0 ? count : 1; };
  const std::int64_t words = wide.metadata_words();
  auto* const metadata = memory.take_items<std::uint32_t>(at_least_one(words));
  launch("packing", pack_metadata, {blocks_for(words, kThreads), 1, kThreads}, stream, a, wide,
         metadata);
  using Slots = Vector<std::uint16_t, kLaneSlots>;
  const auto vectors = wide.value_bytes() / static_cast<std::int64_t>(sizeof(Slots));
  auto* const values = memory.take_items<Slots>(at_least_one(vectors));
  launch("packing", pack_values, {blocks_for(vectors, kThreads), 1, kThreads}, stream, a, wide,
         values);
  wide.metadata = metadata;
  wide.values = values;
  return wide;
}

}  // namespace sparsecore::cuda
