// The warp's matrix products of csrc/cuda/ptx/ptx.h: the same fragments, summed one by one in fp32.
#pragma once

#include <cmath>

#include "dtype.h"
#include "simt.h"

namespace sparsecore::cuda {

inline float product_operand(Half v) { return to_float(v); }
inline float product_operand(BFloat16 v) { return to_float(v); }

// Item k of row r (of a) or of column r (of b), both 16 long, as the lanes hold them.
template <class T>
float item_of_a(int row, int k) {
  const std::uint32_t* words = simt::handed(static_cast<unsigned>(row % 8 * 4 + k % 8 / 2));
  const std::uint32_t word = words[k / 8 * 2 + row / 8];
  return product_operand(T{static_cast<std::uint16_t>(word >> (k % 2 * 16))});
}
template <class T>
float item_of_b(int k, int column) {
  const std::uint32_t* words = simt::handed(static_cast<unsigned>(column * 4 + k % 8 / 2));
  const std::uint32_t word = words[4 + k / 8];
  return product_operand(T{static_cast<std::uint16_t>(word >> (k % 2 * 16))});
}

template <class Acc, class Item>
void sum_of_products(Acc (&d)[4], int length, Item item) {
  const int lane = static_cast<int>(simt::lane_of_this_thread());
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < length; ++k) d[i] += item(row, k, column);
  }
}

template <class T>
void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const std::uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  simt::hand_over(words, 6);
  sum_of_products(d, 16, [](int row, int k, int column) {
    return item_of_a<T>(row, k) * item_of_b<T>(k, column);
  });
  simt::release_handed();
}

// Ten bits of mantissa, ties away from zero.
inline std::uint32_t to_tf32(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & ~0x1fffu;
}

inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  const std::uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  simt::hand_over(words, 6);
  sum_of_products(d, 8, [](int row, int k, int column) {
    const auto of = [](unsigned lane, int word) {
      // The unit ignores what is below the mantissa.
      return __builtin_bit_cast(float, simt::handed(lane)[word] & ~0x1fffu);
    };
    return of(static_cast<unsigned>(row % 8 * 4 + k % 4), k / 4 * 2 + row / 8) *
           of(static_cast<unsigned>(column * 4 + k % 4), 4 + k / 4);
  });
  simt::release_handed();
}

// A 2:4 by its metadata, of which words of the lanes 4 g + 2 kSelector + j tell (ptx.h of csrc).
template <class T, int kSelector>
void mma_sp_m16n8k32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[4],
                     std::uint32_t metadata) {
  const std::uint32_t words[9] = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], metadata};
  simt::hand_over(words, 9);
  const auto handed = [](int lane) { return simt::handed(static_cast<unsigned>(lane)); };
  const auto item = [](std::uint32_t word, int half) {
    return product_operand(T{static_cast<std::uint16_t>(word >> (16 * half))});
  };
  sum_of_products(d, 16, [&](int row, int slot, int column) {
    const int group = slot / 2;
    const std::uint32_t places = handed(row % 8 * 4 + 2 * kSelector + group / 4)[8];
    const int place = static_cast<int>(places >> (row / 8 * 16 + group % 4 * 4 + slot % 2 * 2)) & 3;
    const int k = 4 * group + place;
    return item(handed(row % 8 * 4 + group % 4)[group / 4 * 2 + row / 8], slot % 2) *
           item(handed(column * 4 + k % 8 / 2)[4 + k / 8], k % 2);
  });
  simt::release_handed();
}

// The manual's own terms ("Matrix Fragments for sparse mma.m16n8k64"): register i / 4 of a lane has
// items i; those of a with i < 4 or 8 <= i < 12 are of row groupID, and from i = 8 on 32 columns
// further; eight columns from 8 threadID_in_group on are four items. All lanes hold metadata.
inline void mma_sp_m16n8k64(std::int32_t (&d)[4], const std::uint32_t (&a)[4],
                            const std::uint32_t (&b)[4], std::uint32_t metadata) {
  const std::uint32_t words[9] = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], metadata};
  simt::hand_over(words, 9);
  const auto handed = [](int lane) { return simt::handed(static_cast<unsigned>(lane)); };
  const auto item = [](std::uint32_t word, int byte) {
    return static_cast<std::int8_t>(word >> (8 * byte));
  };
  sum_of_products(d, 32, [&](int row, int slot, int column) {
    const int group_of_rows = row % 8 * 4, is_lower = row / 8, is_second = slot / 16;
    const int group = slot / 2;  // of four columns
    const std::uint32_t places = handed(group_of_rows + 2 * (group / 8) + is_lower)[8];
    const std::uint32_t nibble = places >> (4 * (group % 8)) & 15u;
    if ((nibble & 3u) >= nibble >> 2) simt::leave("places that mma.sp has no meaning for");
    const int k = 4 * group + static_cast<int>(nibble >> (2 * (slot % 2)) & 3u);
    const std::uint32_t of_a = handed(group_of_rows + slot % 16 / 4)[2 * is_second + is_lower];
    const std::uint32_t of_b = handed(column * 4 + k % 16 / 4)[4 + k / 16];
    return item(of_a, slot % 4) * item(of_b, k % 4);
  });
  simt::release_handed();
}

// What is run here is what devices without the instruction run.
constexpr bool kConvertsE4M3 = false;
inline std::uint32_t halves_of_e4m3(std::uint16_t) { simt::leave("a conversion of e4m3"); }

}  // namespace sparsecore::cuda
