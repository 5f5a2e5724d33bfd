// Where keys go when they are sorted.
#pragma once

#include "../views.h"
#include "memory.h"

namespace sparsecore::cuda {

// Bits that 0 ... count - 1 take.
constexpr int bits_for(std::int64_t count) {
  int bits = 0;
  while (bits < 63 && (count - 1) >> bits > 0) ++bits;
  return bits;
}
// So many keys of so many bits are unsigned integers of four bytes, or of eight.
constexpr int key_width(int bits, std::int64_t count) {
  return bits <= 32 && count <= 0xffffffffll ? 4 : 8;
}

struct SortedKeys {
  IndexView keys;
  const std::int64_t* order;  // key i was key order[i]
};

// Equal keys keep their order. `keys`, of the width above, may be written to.
SortedKeys sorted_keys(void* keys, int bits, std::int64_t count, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
