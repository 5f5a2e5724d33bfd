// Which block of a grid goes on next: one after another, or, for tests, several that are begun side
// by side, the last of the grid first.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <vector>

#include "block.h"

namespace simt {
namespace {

std::atomic<int> blocks_at_once{1};
std::atomic<unsigned> seed{0};
std::uint64_t begun = 0;

// Freed with the alignment that it was made with.
constexpr std::align_val_t kSharedAlignment{1024};
struct SharedDelete {
  void operator()(std::byte* p) const { ::operator delete[](p, kSharedAlignment); }
};

// A place for a block, which is kept from one grid to the next for its threads' stacks.
struct Place {
  std::unique_ptr<Block> block = std::make_unique<Block>();
  std::unique_ptr<std::byte[], SharedDelete> shared;

  void take(const Launch& launch) {
    shared.reset(new (kSharedAlignment) std::byte[launch.shared_bytes]);
    block->shared = {shared.get(), launch.shared_bytes};
    block->body = launch.body;
    block->size = launch.threads;
    block->is_reversed = launch.is_reversed;
    block->error.clear();
  }
};

dim3 index_of(std::uint64_t i, dim3 grid) {
  const std::uint64_t across = i / grid.x;
  return {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(across % grid.y),
          static_cast<unsigned>(across / grid.y)};
}

std::vector<Place>& places() {
  static std::vector<Place> all;
  return all;
}

}  // namespace

std::uint64_t blocks_begun() { return begun; }

void run_blocks(const Launch& launch) {
  const std::uint64_t count = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const auto most = static_cast<std::uint64_t>(std::max(blocks_at_once.load(), 1));
  const unsigned from = seed.load();
  std::minstd_rand random(from);
  if (places().size() < most) places().resize(most);
  std::vector<Block*> idle, resident;
  for (std::uint64_t i = 0; i < std::min(most, count); ++i) {
    places()[i].take(launch);
    idle.push_back(places()[i].block.get());
  }
  int rounds_without_progress = 0;
  for (std::uint64_t next = 0; next < count || !resident.empty();) {
    while (next < count && !idle.empty()) {
      Block* const b = idle.back();
      idle.pop_back();
      b->index = index_of(from == 0 ? next : count - 1 - next, launch.grid);
      ++next;
      ++begun;
      begin(*b);
      resident.push_back(b);
    }
    if (from != 0) std::shuffle(resident.begin(), resident.end(), random);
    bool is_progress = false;
    std::erase_if(resident, [&](Block* b) {
      const Progress progress = advance(*b);
      is_progress |= progress != Progress::kNeedsOthers;
      if (progress == Progress::kEnded) idle.push_back(b);
      return progress == Progress::kEnded;
    });
    rounds_without_progress = is_progress ? 0 : rounds_without_progress + 1;
    if (rounds_without_progress > 2) {
      throw std::logic_error("blocks wait for others that have not begun, or do not come");
    }
  }
}

}  // namespace simt

// For ctypes. So many blocks are begun at once, and go on from barrier to barrier in an order that
// follows from `from`; with 0 in order, else the last of the grid begins first.
extern "C" {
[[gnu::visibility("default"), gnu::used]] void simt_schedule(int at_once, unsigned from) {
  simt::blocks_at_once = at_once;
  simt::seed = from;
}
}
