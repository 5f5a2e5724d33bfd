// Triplets in any order, duplicates among them, as a CSR pattern on the device.
#pragma once

#include <optional>

#include "csr_arrays.h"

namespace sparsecore::cuda {

// order == nullptr: entries stay in their order; starts == nullptr: no coordinate repeats
// (ValueOrder of the host's triplets.h). `rows` are those of the entries.
struct CanonicalTriplets {
  Pattern pattern;
  IndexView rows;
  const std::int64_t* order = nullptr;
  const std::int64_t* starts = nullptr;
};

// What is wanted besides columns, and what is to be refused.
struct TripletOptions {
  bool with_rows = false, with_offsets = true, with_duplicates = true;
};

// The coordinates are inside the shape, which key_bits() fits. Nothing where coordinates repeat and
// `with_duplicates` is false.
constexpr int kMostKeyBits = 63;
int key_bits(std::int64_t rows, std::int64_t cols);
std::optional<CanonicalTriplets> canonical_triplets(const IndexView& row, const IndexView& col,
                                                    std::int64_t rows, std::int64_t cols,
                                                    TripletOptions options, Memory& memory,
                                                    Stream stream);

}  // namespace sparsecore::cuda
