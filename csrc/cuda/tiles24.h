// The product of a 2:4 matrix on tensor cores, from the canonical layout.
#pragma once

#include "../epilogue.h"
#include "memory.h"

namespace sparsecore::cuda {

// Whether `tiles24_product` takes these: fp16 or bf16 both, whole steps of columns, and S at
// multiples of 16 bytes.
bool has_tiles24(const Sparse24View& a, const MatrixView& x);

// out = epilogue(a @ x). The arguments agree (ops.h); all memory is the device's.
void tiles24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                     const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
