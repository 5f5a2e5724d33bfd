// The product of a 2:4 matrix on tensor cores, from the canonical layout.
#pragma once

#include "../epilogue.h"
#include "memory.h"

namespace sparsecore::cuda {

// What `tiles24_product` calls its kernel for these, or null where it has none. It takes fp16, bf16
// and int8 both, and values of 8 bits with an X of 16; whole steps of columns, 64 or, of an int8 X,
// 128; and S at addresses that loads of a lane's words can have (at most 16 bytes).
const char* tiles24_name(const Sparse24View& a, const MatrixView& x);

// out = epilogue(a @ x). The arguments agree (ops.h); all memory is the device's.
void tiles24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                     const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
