// csrc/cuda/ptx/async_copy.h on the processor. A copy is made when it is waited for, so that
// whoever does not wait finds what was there before; and what was copied is marked until the fence
// before wgmma, so that products which read it without are found.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "simt.h"

namespace sparsecore::cuda {

inline char* dynamic_shared() { return reinterpret_cast<char*>(simt::dynamic_shared().data); }

inline std::uint32_t shared_address(const void* shared) {
  const std::ptrdiff_t offset = static_cast<const char*>(shared) - dynamic_shared();
  if (offset < 0 || static_cast<std::size_t>(offset) > simt::dynamic_shared().size) {
    simt::leave("an address outside of the block's shared memory");
  }
  return static_cast<std::uint32_t>(offset);
}

struct SharedRange {
  std::uint32_t begin, end;
};

struct AsyncCopy {
  std::uint32_t to;
  const void* from;
  int bytes;
};

// What the threads of a block have under way.
struct AsyncCopies {
  std::uint64_t block = 0;
  std::array<std::vector<AsyncCopy>, 1024> open;                 // not yet in a group
  std::array<std::vector<std::vector<AsyncCopy>>, 1024> groups;  // oldest first
  std::array<std::vector<std::uint32_t>, 1024> unfenced;         // addresses
  std::vector<bool> is_unfenced;                                 // for each 16 bytes
  std::array<std::vector<SharedRange>, 32> read;                 // by products of each warp
};
inline AsyncCopies& async_copies() {
  static AsyncCopies copies;
  if (copies.block != simt::blocks_begun()) {
    copies = AsyncCopies{};
    copies.block = simt::blocks_begun();
    copies.is_unfenced.resize((simt::dynamic_shared().size + 15) / 16);
  }
  return copies;
}

inline void copy_async_16(void* shared, const void* global, int bytes) {
  const std::uint32_t to = shared_address(shared);
  if (to % 16 != 0 || reinterpret_cast<std::uintptr_t>(global) % 16 != 0 || bytes < 0 ||
      bytes > 16 || to + 16 > simt::dynamic_shared().size) {
    simt::leave("cp.async of " + std::to_string(bytes) + " bytes is misaligned, or outside");
  }
  AsyncCopies& copies = async_copies();
  for (const auto& ranges : copies.read) {
    for (const SharedRange& range : ranges) {
      if (range.begin <= to && to < range.end) {
        simt::leave("cp.async to where wgmma may still read");
      }
    }
  }
  copies.open[simt::thread_of_block()].push_back({to, global, bytes});
}

inline void commit_copies() {
  const unsigned thread = simt::thread_of_block();
  AsyncCopies& copies = async_copies();
  copies.groups[thread].push_back(copies.open[thread]);
  copies.open[thread].clear();
}

template <int kPending>
void wait_for_copies() {
  const unsigned thread = simt::thread_of_block();
  AsyncCopies& copies = async_copies();
  auto& groups = copies.groups[thread];
  while (groups.size() > kPending) {
    for (const AsyncCopy& copy : groups.front()) {
      std::byte* const to = simt::dynamic_shared().data + copy.to;
      std::memset(to, 0, 16);
      if (copy.bytes > 0) std::memcpy(to, copy.from, static_cast<std::size_t>(copy.bytes));
      copies.unfenced[thread].push_back(copy.to);
      copies.is_unfenced[copy.to / 16] = true;
    }
    groups.erase(groups.begin());
  }
}

}  // namespace sparsecore::cuda
