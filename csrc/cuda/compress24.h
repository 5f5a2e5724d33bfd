// Dense to 2:4 on the device, by the rule of groups24.h: the host's results, bit for bit.
#pragma once

#include "../views.h"
#include "memory.h"

namespace sparsecore::cuda {

// mask[row][column] = 1 where a column is one of the two largest magnitudes of its four.
void prune24(const MatrixView& dense, std::uint8_t* mask, Memory& memory, Stream stream);

struct Compressed24 {
  const void* values;            // [rows][2 * groups]
  const std::uint8_t* metadata;  // [rows][(columns + 7) / 8]
  bool is_24;
};
// The canonical layout of a dense matrix of any strides; of its two largest of four if `prune`.
// Without, the stream is waited for, to learn whether the matrix is 2:4.
Compressed24 compress24(const MatrixView& dense, bool prune, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
