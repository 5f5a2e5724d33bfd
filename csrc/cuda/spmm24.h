// The product of a 2:4 matrix and a dense one on the device.
#pragma once

#include "../epilogue.h"
#include "memory.h"

namespace sparsecore::cuda {

// out = epilogue(a @ x). The arguments agree (ops.h); all memory is the device's. The kernel, and
// so the order of every sum, depends on the shapes, the strides, the dtypes and whether the values
// lie at multiples of 16 bytes: its name is returned.
const char* sparse24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                             const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
