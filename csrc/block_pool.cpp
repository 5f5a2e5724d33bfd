#include "block_pool.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "pages.h"

namespace sparsecore {
namespace {

constexpr std::size_t kMostKept = 2 * kLargestPooled;

struct Kept {
  std::byte* block;
  std::size_t capacity;
};

// Never destroyed: results outlive whatever ends with the process.
struct Pool {
  std::mutex mutex;
  std::vector<Kept> blocks;  // the oldest first
  std::size_t bytes = 0;
};
Pool& pool() {
  static Pool* const the_pool = new Pool;
  return *the_pool;
}

// A block may be so much larger than what it is taken for.
bool fits(std::size_t capacity, std::size_t bytes) {
  return capacity >= bytes && capacity - bytes <= bytes / 4;
}

// The latest that fits is the likeliest to lie in a cache.
std::byte* taken(std::size_t bytes, std::size_t* capacity) {
  // Where another thread has it, or had it when this process was forked: do without.
  const std::unique_lock lock(pool().mutex, std::try_to_lock);
  if (!lock.owns_lock()) return nullptr;
  std::vector<Kept>& blocks = pool().blocks;
  for (std::size_t i = blocks.size(); i-- > 0;) {
    if (!fits(blocks[i].capacity, bytes)) continue;
    const Kept found = blocks[i];
    blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
    pool().bytes -= found.capacity;
    *capacity = found.capacity;
    return found.block;
  }
  return nullptr;
}

}  // namespace

BlockPool::Block BlockPool::take(std::size_t bytes) {
  Return back;
  if (std::byte* const block = taken(bytes, &back.capacity)) return {block, back};
  back.capacity = bytes;
  Pages<std::byte> fresh(static_cast<std::int64_t>(bytes));
  return {fresh.release(), back};
}

void BlockPool::Return::operator()(std::byte* block) const {
  Kept oldest{block, capacity};
  {
    const std::unique_lock lock(pool().mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      std::vector<Kept>& blocks = pool().blocks;
      blocks.push_back(oldest);
      pool().bytes += capacity;
      oldest.block = nullptr;
      if (pool().bytes > kMostKept) {
        oldest = blocks.front();
        blocks.erase(blocks.begin());
        pool().bytes -= oldest.capacity;
      }
    }
  }
  std::free(oldest.block);
}

}  // namespace sparsecore
