// Products of 16-bit matrices with few columns, on tensor cores: matrices in the order of
// fragments.
#pragma once

#include "../epilogue.h"
#include "memory.h"
#include "strip_layout.h"

namespace sparsecore::cuda {

// Places and offsets of a pattern, in memory of `memory`; no values yet. Deltas wait for the
// stream, for how many there are.
StripView strips_of(const CsrView& a, StripForm form, Memory& memory, Stream stream);

// Between CSR's order and that of strips, which have room for `slots` values.
void place_strip_values(const CsrView& a, const StripView& strips, void* strip_values,
                        Memory& memory, Stream stream);
void unpack_strip_values(const CsrView& a, const StripView& strips, void* csr_values,
                         Memory& memory, Stream stream);

// out = epilogue(a @ x); x has the values' dtype. 32 columns at a time, the matrix read once for
// each. An item of x that is not finite makes nothing of what it does not meet: an x that holds one
// is multiplied item by item, slowly.
void strip_product(const StripView& a, const MatrixView& x, const Epilogue& epilogue,
                   const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
