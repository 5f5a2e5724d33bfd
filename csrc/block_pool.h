// Memory of large results, kept for the next ones: 256 MB at most.
//
// The kernel hands out fresh memory page by page, zeroed: a network whose layers each write a few
// new megabytes spends more time there than in its products (4 MB: 5 ms on a virtual machine, where
// they are written in 0.3).
#pragma once

#include <cstddef>
#include <memory>

namespace sparsecore {

// Results of so many bytes are worth keeping.
constexpr std::size_t kLargeResult = std::size_t{512} << 10;
constexpr std::size_t kLargestPooled = std::size_t{128} << 20;

class BlockPool {
 public:
  struct Return {
    std::size_t capacity = 0;
    void operator()(std::byte* block) const;
  };
  // Uninitialised memory that goes back to the pool; aligned to 64 bytes at least.
  using Block = std::unique_ptr<std::byte, Return>;
  static Block take(std::size_t bytes);
};

}  // namespace sparsecore
