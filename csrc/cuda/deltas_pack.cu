// Deltas of a CSR matrix, by way of the masks of its bitmap: where the slots of each group of eight
// positions begin, by counting and summing within a block; then the deltas, and values, each to its
// slot.
#include "bitmap.h"
#include "deltas.h"
#include "found.h"
#include "scan.h"

namespace sparsecore::cuda {
namespace {

constexpr int kHalves = kDeltaFragments / kBitmapFragments;  // blocks of the bitmap in one of ours
constexpr int kGroups = kDeltaFragments * kWarp;             // of eight positions, in a block

// Masks as bitmap_masks makes them.
struct Masks {
  const std::uint32_t* words;
  std::int64_t per_strip, blocks;  // blocks of the bitmap, and of the deltas, in a strip

  __device__ __forceinline__ int fragments_of(std::int64_t block) const {
    const std::int64_t left = per_strip - block % blocks * kHalves;
    return (left < kHalves ? static_cast<int>(left) : kHalves) * kBitmapFragments;
  }
  // The eight bits of this lane.
  __device__ __forceinline__ unsigned bits(std::int64_t block, int fragment, int lane) const {
    const std::int64_t in_strip = block % blocks * kHalves + fragment / kBitmapFragments;
    const std::uint32_t word = words[(block / blocks * per_strip + in_strip) * kWarp + lane];
    return word >> (fragment % kBitmapFragments * kItemsOfLane) & 0xffu;
  }
};

// The slots of the entries in eight positions, in order: those that only skip, and the entries'.
struct Group {
  int slot, skips, step;  // the first one; how many skip; the delta of the first entry
  unsigned bits;
};

// A warp a block: body(fragment, group) with each lane's group. Returns how many slots there are.
template <int kBits, class Body>
__device__ __forceinline__ int for_groups(const Masks& masks, std::int64_t block, Body body) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  int slots = 0, last = -1;  // of the fragments before
  for (int fragment = 0; fragment < masks.fragments_of(block); ++fragment) {
    const unsigned bits = masks.bits(block, fragment, lane);
    const int position = fragment * kFragmentItems + lane * kItemsOfLane;
    const int up_to_mine = largest_up_to(bits ? position + 31 - __clz(static_cast<int>(bits)) : -1);
    int previous = __shfl_up_sync(~0u, up_to_mine, 1);
    if (lane == 0 || previous < last) previous = last;
    const int step = bits ? position + __ffs(static_cast<int>(bits)) - 1 - previous : 0;
    const int skips = step / kSkip<kBits>;
    const int count = bits ? skips + __popc(bits) : 0;
    const int below = items_before(count);
    body(fragment, Group{slots + below, skips, step % kSkip<kBits>, bits});
    slots += of_last_lane(below + count);
    const int largest = of_last_lane(up_to_mine);
    if (largest > last) last = largest;
  }
  return slots;
}

// How many chunks a block has, and the slot, counted from its first, of each group's first entry.
template <int kBits>
__global__ void count_slots(Masks masks, std::int64_t count, std::int64_t* chunks,
                            std::uint16_t* first) {
  const std::int64_t block = warp_of_grid();
  if (block >= count) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int slots = for_groups<kBits>(masks, block, [&](int fragment, const Group& group) {
    if (first == nullptr) return;
    first[block * kGroups + fragment * kWarp + lane] =
        static_cast<std::uint16_t>(group.slot + group.skips);
  });
  if (chunks != nullptr && lane == 0) chunks[block] = (slots + kChunk - 1) / kChunk;
}

// Into words that are zero: several lanes share one.
template <int kBits>
__device__ __forceinline__ void set_delta(std::uint32_t* deltas, std::int64_t slot, int delta) {
  constexpr int kOfWord = 32 / kBits;
  atomicOr(&deltas[slot / kOfWord], static_cast<std::uint32_t>(delta) << (slot % kOfWord * kBits));
}

template <int kBits>
__global__ void write_deltas(Masks masks, std::int64_t count, const std::int64_t* offsets,
                             std::uint32_t* deltas) {
  const std::int64_t block = warp_of_grid();
  if (block >= count) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const std::int64_t begin = offsets[block] * kChunk, end = offsets[block + 1] * kChunk;
  const int slots = for_groups<kBits>(masks, block, [&](int, const Group& group) {
    std::int64_t slot = begin + group.slot;
    if (group.bits == 0) return;
    for (int skip = 0; skip < group.skips; ++skip) set_delta<kBits>(deltas, slot++, kSkip<kBits>);
    set_delta<kBits>(deltas, slot++, group.step);
    int previous = __ffs(static_cast<int>(group.bits)) - 1;
    for (unsigned left = group.bits & (group.bits - 1); left != 0; left &= left - 1) {
      const int bit = __ffs(static_cast<int>(left)) - 1;
      set_delta<kBits>(deltas, slot++, bit - previous);
      previous = bit;
    }
  });
  if (begin + slots + lane < end) set_delta<kBits>(deltas, begin + slots + lane, kSkip<kBits>);
}

__global__ void move_values(CsrView a, Masks masks, const std::int64_t* offsets,
                            const std::uint16_t* first, StripMove moved) {
  for_entries<kDeltaColumns>(a, [&](std::int64_t p, const StripPlace& where) {
    const int lane = where.place.lane;
    const unsigned below = masks.bits(where.block, where.fragment, lane) &
                           ((1u << static_cast<unsigned>(where.place.item)) - 1u);
    const std::int64_t group = where.block * kGroups + where.fragment * kWarp + lane;
    moved(p, offsets[where.block] * kChunk + first[group] + __popc(below));
  });
}

Masks masks_of(const CsrView& a, const StripView& deltas, Memory& memory, Stream stream) {
  const StripView bitmap{.rows = a.rows, .cols = a.cols};
  return {bitmap_masks(a, memory, stream), bitmap.blocks(), deltas.blocks()};
}

template <class Body>
void with_bits_of(const StripView& deltas, Body&& body) {
  if (deltas.form == StripForm::kDelta4) return body(std::integral_constant<int, 4>{});
  body(std::integral_constant<int, 8>{});
}

}  // namespace

StripView deltas_of(const CsrView& a, StripForm form, Memory& memory, Stream stream) {
  StripView deltas{.rows = a.rows, .cols = a.cols, .nnz = a.nnz(), .form = form, .dtype = a.dtype};
  const std::int64_t count = deltas.strips() * deltas.blocks();
  const Masks masks = masks_of(a, deltas, memory, stream);
  auto* offsets = memory.take_items<std::int64_t>(count + 1);
  deltas.offsets = offsets;
  check(cudaMemsetAsync(offsets + count, 0, sizeof(std::int64_t), stream), "clearing");
  with_bits_of(deltas, [&](auto bits) {
    launch("packing", count_slots<bits()>, a_warp_each(count), stream, masks, count, offsets,
           nullptr);
    exclusive_sum(offsets, count + 1, memory, stream);
    deltas.slots = read_back(offsets + count, stream) * kChunk;
    const std::int64_t bytes = deltas.slots * bits() / 8;
    auto* words = static_cast<std::uint32_t*>(memory.take(bytes > 0 ? bytes : 1));
    deltas.places = words;
    check(cudaMemsetAsync(words, 0, static_cast<std::size_t>(bytes), stream), "clearing");
    launch("packing", write_deltas<bits()>, a_warp_each(count), stream, masks, count, offsets,
           words);
  });
  return deltas;
}

void move_delta_values(const CsrView& a, const StripView& deltas, StripMove moved, Memory& memory,
                       Stream stream) {
  const std::int64_t count = deltas.strips() * deltas.blocks();
  const Masks masks = masks_of(a, deltas, memory, stream);
  auto* first = memory.take_items<std::uint16_t>(count * kGroups);
  with_bits_of(deltas, [&](auto bits) {
    launch("packing", count_slots<bits()>, a_warp_each(count), stream, masks, count, nullptr,
           first);
  });
  launch("packing", move_values, a_warp_each(a.rows), stream, a, masks, deltas.offsets, first,
         moved);
}

}  // namespace sparsecore::cuda
