// What becomes of entries that share a coordinate, in a sorted run of them.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "dtype.h"

namespace sparsecore {

// The sum of the values of a range of items, as bits; place() names their coordinate where it does
// not fit int8.
template <class Run, class Place>
std::uint64_t sum_run(const Run& run, DType dtype, Place place) {
  const auto add = [&](auto sum, auto value_of) {
    for (const auto& item : run) sum += value_of(item.payload);
    return sum;
  };
  switch (dtype) {
    case DType::kFloat64:
      return std::bit_cast<std::uint64_t>(add(-0.0, [](auto payload) {
        return std::bit_cast<double>(static_cast<std::uint64_t>(payload));
      }));
    case DType::kFloat32:
      return std::bit_cast<std::uint32_t>(add(-0.0f, [](auto payload) {
        return std::bit_cast<float>(static_cast<std::uint32_t>(payload));
      }));
    case DType::kFloat16:
      return to_half(add(-0.0f,
                         [](auto payload) {
                           return to_float(Half{static_cast<std::uint16_t>(payload)});
                         }))
          .bits;
    case DType::kBFloat16:
      return to_bfloat16(add(-0.0f,
                             [](auto payload) {
                               return to_float(BFloat16{static_cast<std::uint16_t>(payload)});
                             }))
          .bits;
    default: {
      const std::int64_t sum =
          add(std::int64_t{0}, [](auto payload) { return static_cast<std::int8_t>(payload); });
      if (sum < -128 || sum > 127) {
        throw std::overflow_error("duplicates at " + place() + " sum to " + std::to_string(sum) +
                                  ", outside int8");
      }
      return static_cast<std::uint8_t>(sum);
    }
  }
}

// Puts one entry for each coordinate of a sorted bucket at the front of `kept`, which may be the
// bucket itself, and returns their number. merge(run) is what becomes of entries of one coordinate:
// the payload of the one that stays.
template <class Item, class Merge>
std::int64_t merge_duplicates(std::span<const Item> items, Item* kept, Merge merge) {
  std::int64_t count = 0;
  for (std::size_t begin = 0; begin < items.size();) {
    const Item item = items[begin];
    std::size_t end = begin + 1;
    while (end < items.size() && items[end].key == item.key) ++end;
    kept[count++] = {item.key,
                     end == begin + 1 ? item.payload : merge(items.subspan(begin, end - begin))};
    begin = end;
  }
  return count;
}

}  // namespace sparsecore
