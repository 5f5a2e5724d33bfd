// What is read of the canonical 2:4 layout on the device, besides by products.
#pragma once

#include "../views.h"
#include "memory.h"

namespace sparsecore::cuda {

// The contiguous dense matrix: out[row * cols + column].
void expand24(const Sparse24View& a, void* out, Stream stream);

// columns[row * 2 * groups + slot] = the column of a slot, which may lie past the last one.
void columns24(const Sparse24View& a, std::int64_t* columns, Stream stream);

// Whether each nibble names two ascending columns, and slots past the last column hold zeros where
// there are values. Waits for the stream.
bool is_valid24(const Sparse24View& a, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
