// The words of metadata that the kernel for few columns hands to mma.sp, nibble for nibble: that of
// a hardware's group is the one of the columns that stand for it.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>

#include "cuda/metadata_layouts.h"
#include "cuda/tiles24_layout.h"

namespace sparsecore::cuda {
namespace {

constexpr std::uint32_t nibble_at(std::uint32_t word, std::int64_t i) {
  return word >> (4 * i) & 15u;
}

TEST_CASE("places of 16-bit items") {
  constexpr std::uint64_t kRow = 0xfedc'ba98'7654'3210u;  // group i has nibble i
  for (int product = 0; product < 2; ++product) {
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t word = nibbles_of(kRow, product, half);
      CHECK_EQ(word >> 16, 0);
      for (std::int64_t i = 0; i < 4; ++i) {
        // The lane that has it is 2 product + half of its four; of a tile's it has the first row.
        const MetadataPlace of_hardware = Sm80Metadata16::place(half * kWordNibbles + i, 32);
        CHECK_EQ(of_hardware.row, 0);
        const std::int64_t t = of_hardware.group % 4, word_of_lane = of_hardware.group / 4;
        CHECK_EQ(nibble_at(word, i), 4 * t + 2 * product + word_of_lane);
      }
    }
  }
}

TEST_CASE("places of 8-bit items") {
  // Group i has nibble i % 16, and i / 16 in a second row.
  constexpr std::array<std::uint32_t[4], 2> kRows = {
      {{0x7654'3210u, 0xfedc'ba98u, 0x7654'3210u, 0xfedc'ba98u},
       {0, 0, 0x1111'1111u, 0x1111'1111u}}};
  for (int product = 0; product < 2; ++product) {
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t low = bytes_of(kRows[0], product, half);
      const std::uint32_t high = bytes_of(kRows[1], product, half);
      for (std::int64_t i = 0; i < 8; ++i) {
        const MetadataPlace of_hardware = Sm80Metadata8::place(2 * half * kWordNibbles + i, 16);
        CHECK_EQ(of_hardware.row, 0);
        const std::int64_t t = of_hardware.group % 8 / 2, j = of_hardware.group % 2;
        const std::int64_t word_of_lane = 2 * product + of_hardware.group / 8;
        CHECK_EQ(nibble_at(low, i) + 16 * nibble_at(high, i), 8 * t + 2 * word_of_lane + j);
      }
    }
  }
}

}  // namespace
}  // namespace sparsecore::cuda
