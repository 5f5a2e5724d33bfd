// Products of 16-bit matrices with few columns: a bitmap in fragment order, tensor cores.
#pragma once

#include "../epilogue.h"
#include "bitmap_layout.h"
#include "memory.h"

namespace sparsecore::cuda {

// Masks and offsets of a pattern, in memory of `memory`; no values yet.
BitmapView bitmap_of(const CsrView& a, Memory& memory, Stream stream);

// Between CSR's order and the bitmap's, which has room for most_items().
void place_bitmap_values(const CsrView& a, const BitmapView& bitmap, void* bitmap_values,
                         Memory& memory, Stream stream);
void unpack_bitmap_values(const CsrView& a, const BitmapView& bitmap, void* csr_values,
                          Memory& memory, Stream stream);

// out = epilogue(a @ x); x has the values' dtype. 32 columns at a time, the matrix read once for
// each. An item of x that is not finite makes nothing of what it does not meet: an x that holds one
// is multiplied item by item, slowly.
void bitmap_product(const BitmapView& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
