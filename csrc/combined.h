// An int8 matrix packed for products with an int8 X: entries of neighbouring columns are combined
// to items of 32 bits, which one instruction multiplies by as many rows of X
// (cpu/combined_sweep.h).
//
// An item is four columns as bytes, or two as 16-bit integers, whichever the processor has an
// instruction for; zero where the matrix has no entry. At densities 0.5, 0.2 and 0.1 an item of
// four holds 2.1, 1.4 and 1.2 entries, one of two 1.3, 1.1 and 1.05. The items of a matrix are
// themselves a matrix, of fewer columns, and packed as any other (packed.h).
//
// Bytes: 6 an item and 16 for four rows of each column block.
#pragma once

#include <cstdint>
#include <vector>

#include "formats.h"
#include "packed.h"

namespace sparsecore {

class CombinedStructure {
 public:
  // `width`: columns of an item, 2 or 4.
  CombinedStructure(const CsrStructure& csr, int width, int threads);

  int width() const { return width_; }
  const PackedStructure& packed() const { return packed_; }
  std::int64_t nbytes() const { return packed_.nbytes(); }

  // Items in packed order, and what the sum of each row begins with: four bytes are multiplied by
  // bytes of X that are 128 too large.
  struct Values {
    Pages<std::int32_t> items;
    std::vector<std::int32_t> first_sums;
    std::int64_t nbytes;
  };
  Values pack(const CsrStructure& csr, const std::int8_t* csr_values, int threads) const;

 private:
  int width_;
  PackedStructure packed_;
};

}  // namespace sparsecore
