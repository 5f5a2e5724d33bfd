// Index arrays in device memory: from whoever calls, checked, to the widths they are stored in.
#pragma once

#include "../views.h"
#include "memory.h"

namespace sparsecore::cuda {

// The smallest width that holds 0 ... largest.
constexpr int width_for(std::uint64_t largest) {
  return largest <= 0xffu ? 1 : largest <= 0xffffu ? 2 : largest <= 0xffffffffu ? 4 : 8;
}
constexpr int column_width(std::int64_t columns) {
  return width_for(columns > 0 ? static_cast<std::uint64_t>(columns) - 1 : 0);
}

// Integers as a caller gives them: unsigned of any width, or signed ones of four or eight bytes.
struct GivenIndices {
  IndexView view;
  bool is_signed = false;

  SPARSECORE_INLINE std::int64_t operator[](std::int64_t i) const {
    if (is_signed && view.width == 4) return static_cast<const std::int32_t*>(view.data)[i];
    return view[i];
  }
};

// Where integers are stored, as an IndexView reads them.
struct IndexTarget {
  void* data = nullptr;
  int width = 1;

  SPARSECORE_INLINE void set(std::int64_t i, std::int64_t value) const {
    switch (width) {
      case 1:
        static_cast<std::uint8_t*>(data)[i] = static_cast<std::uint8_t>(value);
        return;
      case 2:
        static_cast<std::uint16_t*>(data)[i] = static_cast<std::uint16_t>(value);
        return;
      case 4:
        static_cast<std::uint32_t*>(data)[i] = static_cast<std::uint32_t>(value);
        return;
      default:
        static_cast<std::uint64_t*>(data)[i] = static_cast<std::uint64_t>(value);
    }
  }
  SPARSECORE_INLINE IndexView view(std::int64_t size) const { return {data, width, size}; }
};

inline IndexTarget index_room(std::int64_t size, int width, Memory& memory) {
  return {memory.take(size * width), width};
}

// The indices in the smallest width that holds 0 ... limit - 1, and whether all of them are that.
struct Narrowed {
  IndexView indices;
  bool is_valid;
};
Narrowed narrowed(const GivenIndices& given, std::int64_t limit, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
