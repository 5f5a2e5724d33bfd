// CUB's, which reads and writes each item once.
#include <cub/device/device_scan.cuh>

#include "launch.h"
#include "scan.h"

namespace sparsecore::cuda {

void exclusive_sum(std::int64_t* items, std::int64_t count, Memory& memory, Stream stream) {
  const auto sum = [&](void* scratch, std::size_t& bytes) {
    check(cub::DeviceScan::ExclusiveSum(scratch, bytes, items, items, count, stream), "a scan");
  };
  std::size_t bytes = 0;
  sum(nullptr, bytes);
  sum(memory.take(static_cast<std::int64_t>(bytes)), bytes);
}

}  // namespace sparsecore::cuda
