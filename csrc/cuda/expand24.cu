// The canonical 2:4 layout to dense, to columns, and its check: a thread takes a byte of metadata,
// eight columns of a row (octets.h). To dense, zeros included, every item is written once, 16 bytes
// at a time where rows are whole vectors.
//
// Bytes: b / 2 + 1 / 8 an element read, b written. Bound by memory.
#include "../groups24.h"
#include "expand24.h"
#include "found.h"
#include "octets.h"

namespace sparsecore::cuda {
namespace {

template <class Bits, bool kWhole>
__global__ void __launch_bounds__(kOctetThreads)
    expand(OctetThreads threads, Sparse24View a, Bits* out) {
  const OctetPlace place = octet_place(threads);
  if (place.row >= a.rows) return;
  const std::int64_t bytes = a.metadata_bytes_per_row(), slots = 2 * a.groups();
  const Bits* const values = static_cast<const Bits*>(a.values) + place.row * slots;
  Bits* const row = out + place.row * a.cols;
  for (std::int64_t i = place.first; i < bytes; i += place.stride) {
    const unsigned places = a.metadata[place.row * bytes + i];
    const auto given = read_items<Bits, kOctetValues, kWhole>(values, i * kOctetValues, slots);
    Vector<Bits, kOctet> columns{};
#pragma unroll
    for (int slot = 0; slot < kOctetValues; ++slot) {
      const unsigned column = places >> (2 * slot) & 3u;
#pragma unroll
      for (unsigned c = 0; c < 4; ++c) {
        Bits& item = columns.items[slot / 2 * 4 + static_cast<int>(c)];
        item = column == c ? given.items[slot] : item;
      }
    }
    write_items<Bits, kOctet, kWhole>(columns, row, i * kOctet, a.cols);
  }
}

__global__ void __launch_bounds__(kOctetThreads)
    write_columns(OctetThreads threads, Sparse24View a, std::int64_t* columns) {
  const OctetPlace place = octet_place(threads);
  if (place.row >= a.rows) return;
  const std::int64_t bytes = a.metadata_bytes_per_row(), slots = 2 * a.groups();
  for (std::int64_t i = place.first; i < bytes; i += place.stride) {
    Vector<std::int64_t, kOctetValues> found;
#pragma unroll
    for (int slot = 0; slot < kOctetValues; ++slot) {
      found.items[slot] = sparse24_column(a.metadata + place.row * bytes, 4 * i + slot);
    }
    write_items<std::int64_t, kOctetValues, false>(found, columns + place.row * slots, 4 * i,
                                                   slots);
  }
}

// Whether one of the last group's two slots is past the last column and does not hold a zero.
__device__ __forceinline__ bool has_padding(const Sparse24View& a, std::int64_t row) {
  const std::int64_t slots = 2 * a.groups();
  const std::uint8_t* const metadata = a.metadata + row * a.metadata_bytes_per_row();
  bool found = false;
  for (std::int64_t slot = slots - 2; slot < slots; ++slot) {
    const double value = load_as<double>(a.values, a.dtype, row * slots + slot);
    found |= sparse24_column(metadata, slot) >= a.cols && value != 0;
  }
  return found;
}

__global__ void __launch_bounds__(kOctetThreads)
    check24(OctetThreads threads, Sparse24View a, std::uint32_t* found) {
  const OctetPlace place = octet_place(threads);
  const std::int64_t bytes = a.metadata_bytes_per_row();
  bool is_bad = false;
  if (place.row < a.rows) {
    for (std::int64_t i = place.first; i < bytes; i += place.stride) {
      const unsigned places = a.metadata[place.row * bytes + i];
      is_bad |= !is_valid_nibble(places & 15u) || !is_valid_nibble(places >> 4);
    }
    const bool is_last = place.first == 0 && a.cols % 4 != 0 && a.values != nullptr;
    if (is_last) is_bad |= has_padding(a, place.row);
  }
  report(found, kInvalid, is_bad);
}

}  // namespace

void expand24(const Sparse24View& a, void* out, Stream stream) {
  const std::int64_t bytes = a.metadata_bytes_per_row();
  const OctetThreads threads = threads_over(a.rows, bytes);
  // `out` and the values begin at multiples of 16 bytes, or their rows are none of vectors.
  const auto addresses =
      reinterpret_cast<std::uintptr_t>(out) | reinterpret_cast<std::uintptr_t>(a.values);
  const bool is_whole = a.cols % kOctet == 0 && addresses % 16 == 0;
  with_bits(item_size(a.dtype), [&](auto item) {
    using Bits = decltype(item);
    launch("expanding 2:4", is_whole ? expand<Bits, true> : expand<Bits, false>,
           threads.grid(a.rows), stream, threads, a, static_cast<Bits*>(out));
  });
}

void columns24(const Sparse24View& a, std::int64_t* columns, Stream stream) {
  const std::int64_t bytes = a.metadata_bytes_per_row();
  const OctetThreads threads = threads_over(a.rows, bytes);
  launch("columns of 2:4", write_columns, threads.grid(a.rows), stream, threads, a, columns);
}

bool is_valid24(const Sparse24View& a, Memory& memory, Stream stream) {
  const std::int64_t bytes = a.metadata_bytes_per_row();
  const OctetThreads threads = threads_over(a.rows, bytes);
  std::uint32_t* const word = nothing_found(memory, stream);
  launch("checking 2:4", check24, threads.grid(a.rows), stream, threads, a, word);
  return (read_back(word, stream) & kInvalid) == 0;
}

}  // namespace sparsecore::cuda
