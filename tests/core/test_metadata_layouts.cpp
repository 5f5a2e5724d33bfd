// Hardware's layouts of 2:4 metadata: permutations, at the places that others' records name.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cuda/metadata_layouts.h"

namespace sparsecore::cuda {
namespace {

std::int64_t count_of(const MetadataLayout& layout, std::int64_t down, std::int64_t across) {
  return layout.rows * down * layout.groups * across;
}

TEST_CASE("layouts of metadata are permutations, with their inverses") {
  for (const MetadataLayout& layout : kMetadataLayouts) {
    for (const std::int64_t down : {1, 2, 3}) {
      for (const std::int64_t across : {1, 2, 5}) {
        INFO(layout.name << ", " << down << " x " << across << " tiles");
        const std::int64_t rows = layout.rows * down, groups = layout.groups * across;
        std::vector<int> met(static_cast<std::size_t>(rows * groups));
        bool is_inverse = true;
        for (std::int64_t row = 0; row < rows; ++row) {
          for (std::int64_t group = 0; group < groups; ++group) {
            const std::int64_t p = layout.position({row, group}, rows);
            if (p < 0 || p >= rows * groups) FAIL("position " << p);
            ++met[static_cast<std::size_t>(p)];
            is_inverse &= layout.place(p, rows) == MetadataPlace{row, group};
          }
        }
        CHECK(is_inverse);
        CHECK(met == std::vector<int>(static_cast<std::size_t>(count_of(layout, down, across)), 1));
      }
    }
  }
}

// Words of 16 bits as xformers' tests of CUTLASS's order list them: reordered[i, j, c] is word
// (i * 2 + j) of column pair c.
TEST_CASE("sm80 metadata of 16 bits lies where CUTLASS has it") {
  constexpr std::int64_t kWordGroups = 4, kRows = 32;
  const auto word = [](std::int64_t row, std::int64_t column) {
    return Sm80Metadata16::position({row, column * kWordGroups}, kRows) / kWordGroups;
  };
  CHECK_EQ(word(0, 0), 0);
  CHECK_EQ(word(8, 0), 1);
  CHECK_EQ(word(0, 1), 2);
  CHECK_EQ(word(8, 1), 3);
  CHECK_EQ(word(16, 0), 4);
  CHECK_EQ(word(24, 0), 5);
  CHECK_EQ(word(0, 2), 2 * kRows);
}

// Strides in bits, a column being one: those of the ordered layout
// ((8, 2, 4), (16, 2, N)) : ((3, 1, 5), (0, 4, 2)).
TEST_CASE("sm90 metadata of 16 bits has the strides of wgmma's atom") {
  constexpr std::int64_t kN = 4;
  const auto bit = [](std::int64_t row, std::int64_t column) {
    return 4 * Sm90Metadata16<kN>::position({row, column / 4}, 64);
  };
  CHECK_EQ(bit(0, 4), 4);
  CHECK_EQ(bit(8, 0), 16);
  CHECK_EQ(bit(0, 32), 32);
  CHECK_EQ(bit(1, 0), 32 * kN);
  CHECK_EQ(bit(0, 16), 256 * kN);
  CHECK_EQ(bit(16, 0), 512 * kN);
}

TEST_CASE("sm90 metadata of 8 bits is row-major in an atom, atoms down the rows first") {
  const auto bit = [](std::int64_t row, std::int64_t column) {
    return 4 * Sm90Metadata8<2>::position({row, column / 4}, 128);
  };
  CHECK_EQ(bit(0, 124), 124);
  CHECK_EQ(bit(1, 0), 128);
  CHECK_EQ(bit(64, 0), 64 * 128);
  CHECK_EQ(bit(0, 128), 128 * 128);
}

TEST_CASE("one of two columns, as tf32 has it") {
  for (const unsigned nibble : {0x4u, 0x8u, 0xCu, 0x9u, 0xDu, 0xEu}) {
    const bool is_pair = nibble != 0x4u && nibble != 0xEu;
    CHECK_EQ(is_one_of_two(nibble), is_pair);
    if (is_pair) CHECK_EQ(canonical_nibble(tf32_nibbles(nibble)), nibble);
  }
  CHECK_EQ(tf32_nibbles(0x8), 0x44);  // columns 0 and 2
  CHECK_EQ(tf32_nibbles(0xC), 0xE4);  // 0 and 3
  CHECK_EQ(tf32_nibbles(0x9), 0x4E);  // 1 and 2
  CHECK_EQ(tf32_nibbles(0xD), 0xEE);  // 1 and 3
}

}  // namespace
}  // namespace sparsecore::cuda
