// Entries of a sparse matrix, decoded a window at a time: values to the accumulator type, columns
// to 32 bits. This is what keeps storage dtypes and index widths out of the inner loops, at about
// one load, one convert and one store per entry and column tile.
#pragma once

#include <cstdint>

#include "../views.h"
#include "convert.h"

namespace sparsecore::SPARSECORE_TARGET {

constexpr std::int64_t kWindow = 512;

template <class Acc>
struct Window {
  alignas(64) Acc values[kWindow];
  alignas(64) std::uint32_t columns[kWindow];
};

template <class Acc>
struct Decoded {
  const Acc* values;
  const std::uint32_t* columns;
};

// Called once a window, so kept out of line: inlined, it would be compiled into every tile shape.
__attribute__((noinline)) inline const std::uint32_t* decode_columns(const IndexView& columns,
                                                                     std::int64_t first,
                                                                     std::int64_t n,
                                                                     std::uint32_t* buffer) {
  const auto widen = [&](auto* src) {
    for (std::int64_t i = 0; i < n; ++i) buffer[i] = static_cast<std::uint32_t>(src[first + i]);
  };
  switch (columns.width) {
    case 1:
      widen(static_cast<const std::uint8_t*>(columns.data));
      return buffer;
    case 2:
      widen(static_cast<const std::uint16_t*>(columns.data));
      return buffer;
    case 4:
      return static_cast<const std::uint32_t*>(columns.data) + first;
    default:  // the operations refuse right sides of more than 2^32 rows, so this does not cut
      widen(static_cast<const std::uint64_t*>(columns.data));
      return buffer;
  }
}

template <class Acc>
__attribute__((noinline)) const Acc* decode_values(const void* values, DType dtype,
                                                   std::int64_t first, std::int64_t n,
                                                   Acc* buffer) {
  if (dtype == DTypeOf<Acc>::value) return static_cast<const Acc*>(values) + first;
  load_values(values, dtype, first, n, buffer);
  return buffer;
}

// Row offsets are decoded so many at a time.
constexpr std::int64_t kOffsetRows = 64;

// starts[i] = where row `row` + i begins, for i = 0 ... n.
__attribute__((noinline)) inline void decode_offsets(const IndexView& offsets, std::int64_t row,
                                                     std::int64_t n, std::int64_t* starts) {
  const auto widen = [&](auto* src) {
    for (std::int64_t i = 0; i <= n; ++i) starts[i] = static_cast<std::int64_t>(src[row + i]);
  };
  switch (offsets.width) {
    case 1:
      return widen(static_cast<const std::uint8_t*>(offsets.data));
    case 2:
      return widen(static_cast<const std::uint16_t*>(offsets.data));
    case 4:
      return widen(static_cast<const std::uint32_t*>(offsets.data));
    default:
      return widen(static_cast<const std::uint64_t*>(offsets.data));
  }
}

struct CsrEntries {
  const CsrView& a;

  template <class Acc>
  SPARSECORE_INLINE Decoded<Acc> decode(std::int64_t first, std::int64_t n,
                                        Window<Acc>& window) const {
    return {decode_values(a.values, a.dtype, first, n, window.values),
            decode_columns(a.columns, first, n, window.columns)};
  }
};

// The four columns that a byte of 2:4 metadata names, counted from the first of its two groups.
struct ByteColumns {
  alignas(16) std::uint32_t columns[256][4];
};

constexpr ByteColumns make_byte_columns() {
  ByteColumns table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (std::uint32_t slot = 0; slot < 4; ++slot) {
      table.columns[byte][slot] = slot / 2 * 4 + ((byte >> (2 * slot)) & 3u);
    }
  }
  return table;
}

constexpr ByteColumns kByteColumns = make_byte_columns();

// Both slots of a group are entries, also where they hold a zero. Slots whose column lies in the
// padding beyond the last real column are left out; as indices ascend, those end the row.
struct Sparse24Entries {
  const Sparse24View& a;

  SPARSECORE_INLINE std::uint32_t nibble(std::int64_t row, std::int64_t group) const {
    const std::uint8_t byte = a.metadata[row * a.metadata_bytes_per_row() + group / 2];
    return (byte >> (4 * (group % 2))) & 15u;
  }
  SPARSECORE_INLINE std::int64_t begin(std::int64_t row) const { return row * 2 * a.groups(); }
  SPARSECORE_INLINE std::int64_t end(std::int64_t row) const {
    const std::int64_t tail = a.cols % 4;
    std::int64_t count = 2 * (a.cols / 4);
    if (tail != 0) {
      const std::uint32_t bits = nibble(row, a.groups() - 1);
      count += (bits & 3u) < tail;
      count += (bits >> 2) < tail;
    }
    return begin(row) + count;
  }
  template <class Acc>
  SPARSECORE_INLINE Decoded<Acc> decode(std::int64_t row, std::int64_t first, std::int64_t n,
                                        Window<Acc>& window) const {
    // Windows are cut at multiples of kWindow, so at whole bytes: two groups, four entries. The
    // last byte may name more than n entries; the window has room for whole bytes.
    const std::int64_t first_byte = (first - begin(row)) / 4;
    const std::uint8_t* bytes = a.metadata + row * a.metadata_bytes_per_row() + first_byte;
    for (std::int64_t i = 0; i < n; i += 4) {
      const std::uint32_t base = static_cast<std::uint32_t>(8 * first_byte + 2 * i);
      const std::uint32_t* columns = kByteColumns.columns[bytes[i / 4]];
      for (int slot = 0; slot < 4; ++slot) window.columns[i + slot] = base + columns[slot];
    }
    return {decode_values(a.values, a.dtype, first, n, window.values), window.columns};
  }
};

// Calls body(row, values, columns, count, is_first) for the decoded pieces of every row in
// [row_begin, row_end), in order; an empty row gets one call with count 0. Where a row is cut
// depends on the row alone (every kWindow entries), so its sum does not depend on which rows a
// thread was given.
//
// Entries of consecutive CSR rows lie one after the other, so a window takes all the whole rows
// that fit. What is done for each row is as little as can be: rows of a few entries are common.
template <class Acc, class Body>
SPARSECORE_INLINE void for_each_piece(const CsrEntries& entries, std::int64_t row_begin,
                                      std::int64_t row_end, Body body) {
  Window<Acc> window;
  std::int64_t starts[kOffsetRows + 1];
  for (std::int64_t first = row_begin; first < row_end; first += kOffsetRows) {
    const std::int64_t n = row_end - first < kOffsetRows ? row_end - first : kOffsetRows;
    decode_offsets(entries.a.offsets, first, n, starts);
    for (std::int64_t begin = 0, end = n; begin < n; begin = end, end = n) {
      if (starts[n] - starts[begin] > kWindow) {
        end = begin + 1;
        while (end < n && starts[end + 1] - starts[begin] <= kWindow) ++end;
      }
      std::int64_t p = starts[begin];
      do {  // once, but for a row that is longer than a window
        const std::int64_t stop = starts[end] - p > kWindow ? p + kWindow : starts[end];
        const Decoded<Acc> decoded = entries.template decode<Acc>(p, stop - p, window);
        for (std::int64_t r = begin; r < end; ++r) {
          const std::int64_t from = starts[r] < p ? p : starts[r];
          const std::int64_t to = starts[r + 1] < stop ? starts[r + 1] : stop;
          body(first + r, decoded.values + (from - p), decoded.columns + (from - p), to - from,
               p == starts[begin]);
        }
        p = stop;
      } while (p < starts[end]);
    }
  }
}

template <class Acc, class Body>
SPARSECORE_INLINE void for_each_piece(const Sparse24Entries& entries, std::int64_t row_begin,
                                      std::int64_t row_end, Body body) {
  Window<Acc> window;
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    const std::int64_t begin = entries.begin(row), end = entries.end(row);
    std::int64_t p = begin;
    do {
      const std::int64_t n = end - p < kWindow ? end - p : kWindow;
      const Decoded<Acc> decoded = entries.template decode<Acc>(row, p, n, window);
      body(row, decoded.values, decoded.columns, n, p == begin);
      p += n;
    } while (p < end);
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
