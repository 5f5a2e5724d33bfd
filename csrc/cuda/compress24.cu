// 2:4 selection and compression in one pass over the matrix. A thread takes 8 columns of a row, of
// bytes 16, and picks two of each four in registers (picked24.h). Neighbouring threads take
// neighbouring columns, so that loads, values and metadata are coalesced; where rows are whole
// vectors, loads are of 16 bytes. A matrix that is not row-major is copied first, by tiles
// (tile_copy.h).
//
// Bytes: b an element read, b / 2 + 1 / 8 written: 25 for 8 columns of 16 bits, in which time an
// H200 issues 170 instructions a lane: fewer leave the memory the bound.
#include "compress24.h"
#include "found.h"
#include "octets.h"
#include "picked24.h"
#include "tile_copy.h"

namespace sparsecore::cuda {
namespace {

template <class B, bool kPrune, int kOctets, bool kWhole>
__global__ void __launch_bounds__(kOctetThreads)
    compress(OctetThreads threads, MatrixView dense, typename B::Bits* values,
             std::uint8_t* metadata, std::uint32_t* found) {
  using Bits = typename B::Bits;
  const OctetPlace place = octet_place(threads);
  const std::int64_t bytes = (dense.cols + 7) / 8, slots = (dense.cols + 3) / 4 * 2;
  bool is_bad = false;
  if (place.row < dense.rows) {
    const Bits* const row = static_cast<const Bits*>(dense.data) + place.row * dense.row_stride;
    Bits* const row_values = values + place.row * slots;
    std::uint8_t* const row_metadata = metadata + place.row * bytes;
    for (std::int64_t i = place.first; i * kOctets < bytes; i += place.stride) {
      const auto columns =
          read_items<Bits, kOctet * kOctets, kWhole>(row, i * kOctet * kOctets, dense.cols);
      Vector<Bits, kOctetValues * kOctets> chosen;
      Vector<std::uint8_t, kOctets> nibbles{};
#pragma unroll
      for (int g = 0; g < 2 * kOctets; ++g) {
        const auto group = picked<B, kPrune>(columns.items + 4 * g);
        is_bad |= group.is_bad;
        chosen.items[2 * g] = group.values[0];
        chosen.items[2 * g + 1] = group.values[1];
        nibbles.items[g / 2] |= static_cast<std::uint8_t>(group.nibble << (g % 2 * 4));
      }
      write_items<Bits, kOctetValues * kOctets, kWhole>(chosen, row_values,
                                                        i * kOctetValues * kOctets, slots);
      write_items<std::uint8_t, kOctets, kWhole>(nibbles, row_metadata, i * kOctets, bytes);
    }
  }
  if (!kPrune) report(found, kInvalid, is_bad);
}

template <class B, bool kWhole>
__global__ void __launch_bounds__(kOctetThreads)
    prune(OctetThreads threads, MatrixView dense, std::uint8_t* mask) {
  using Bits = typename B::Bits;
  const OctetPlace place = octet_place(threads);
  if (place.row >= dense.rows) return;
  const Bits* const row = static_cast<const Bits*>(dense.data) + place.row * dense.row_stride;
  std::uint8_t* const row_mask = mask + place.row * dense.cols;
  for (std::int64_t i = place.first; i * kOctet < dense.cols; i += place.stride) {
    const auto columns = read_items<Bits, kOctet, kWhole>(row, i * kOctet, dense.cols);
    Vector<std::uint8_t, kOctet> kept;
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      const Bits group[4] = {columns.items[4 * g], columns.items[4 * g + 1],
                             columns.items[4 * g + 2], columns.items[4 * g + 3]};
      const Columns24 largest = two_largest<B>(group);
#pragma unroll
      for (int c = 0; c < 4; ++c) kept.items[4 * g + c] = largest.at[c] ? 1 : 0;
    }
    write_items<std::uint8_t, kOctet, kWhole>(kept, row_mask, i * kOctet, dense.cols);
  }
}

template <class Body>
void with_magnitudes(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat64:
      return body(Float64Bits{});
    case DType::kFloat32:
      return body(Float32Bits{});
    case DType::kFloat16:
    case DType::kBFloat16:
      return body(Float16Bits{});
    case DType::kFloat8E4M3:
    case DType::kFloat8E5M2:
      return body(Float8Bits{});
    default:
      return body(Int8Bits{});
  }
}

MatrixView row_major(const MatrixView& given, Memory& memory, Stream stream) {
  const bool is_one = given.col_stride == 1 || given.cols <= 1;
  return is_one ? given : row_major_copy(given, memory, stream);
}

// Whether rows consist of so many columns, and begin at multiples of 16 bytes or of all of them.
bool consists_of(const MatrixView& m, std::int64_t columns) {
  const std::int64_t bytes = columns * item_size(m.dtype), align = bytes < 16 ? bytes : 16;
  return m.cols % columns == 0 && m.row_stride * item_size(m.dtype) % align == 0 &&
         reinterpret_cast<std::uintptr_t>(m.data) % static_cast<std::uintptr_t>(align) == 0;
}

}  // namespace

void prune24(const MatrixView& given, std::uint8_t* mask, Memory& memory, Stream stream) {
  const MatrixView dense = row_major(given, memory, stream);
  const std::int64_t steps = blocks_for(dense.cols, kOctet);
  const OctetThreads threads = threads_over(dense.rows, steps);
  const Grid grid = threads.grid(dense.rows);
  with_magnitudes(dense.dtype, [&](auto magnitudes) {
    using B = decltype(magnitudes);
    const bool is_whole = consists_of(dense, kOctet);
    launch("prune_24", is_whole ? prune<B, true> : prune<B, false>, grid, stream, threads, dense,
           mask);
  });
}

Compressed24 compress24(const MatrixView& given, bool prune, Memory& memory, Stream stream) {
  const MatrixView dense = row_major(given, memory, stream);
  const std::int64_t bytes = blocks_for(dense.cols, 8), slots = blocks_for(dense.cols, 4) * 2;
  void* const values = memory.take(dense.rows * slots * item_size(dense.dtype));
  auto* const metadata = memory.take_items<std::uint8_t>(dense.rows * bytes);
  std::uint32_t* const found = prune ? nullptr : nothing_found(memory, stream);
  with_magnitudes(dense.dtype, [&](auto magnitudes) {
    using B = decltype(magnitudes);
    using Bits = typename B::Bits;
    constexpr int kOctets = sizeof(Bits) == 1 ? 2 : 1;
    const auto start = [&](auto kernel, int octets) {
      const std::int64_t steps = blocks_for(bytes, octets);
      const OctetThreads threads = threads_over(dense.rows, steps);
      launch("compressing to 2:4", kernel, threads.grid(dense.rows), stream, threads, dense,
             static_cast<Bits*>(values), metadata, found);
    };
    if (consists_of(dense, kOctet * kOctets)) {
      start(prune ? compress<B, true, kOctets, true> : compress<B, false, kOctets, true>, kOctets);
    } else {
      start(prune ? compress<B, true, 1, false> : compress<B, false, 1, false>, 1);
    }
  });
  const bool is_24 = prune || (read_back(found, stream) & kInvalid) == 0;
  return {values, metadata, is_24};
}

}  // namespace sparsecore::cuda
