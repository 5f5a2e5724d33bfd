// CUB's sort, by the standard library's: same arguments, same result (which is stable).
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "cuda_runtime.h"

namespace cub {

struct DeviceRadixSort {
  template <class Key, class Value, class Count>
  static cudaError_t SortPairs(void* scratch, std::size_t& bytes, const Key* keys, Key* sorted_keys,
                               const Value* values, Value* sorted_values, Count count,
                               int begin_bit = 0, int end_bit = sizeof(Key) * 8,
                               cudaStream_t = nullptr) {
    if (scratch == nullptr) return bytes = 1, cudaSuccess;
    const Key kept = end_bit - begin_bit >= static_cast<int>(sizeof(Key) * 8)
                         ? static_cast<Key>(~Key{0})
                         : static_cast<Key>((Key{1} << (end_bit - begin_bit)) - 1);
    const auto digits = [&](std::size_t i) -> Key { return (keys[i] >> begin_bit) & kept; };
    std::vector<std::size_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return digits(a) < digits(b); });
    for (std::size_t i = 0; i < order.size(); ++i) {
      sorted_keys[i] = keys[order[i]];
      sorted_values[i] = values[order[i]];
    }
    return cudaSuccess;
  }
};

}  // namespace cub
