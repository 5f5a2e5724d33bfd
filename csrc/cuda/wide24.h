// Products of 16-bit 2:4 matrices with many columns, on devices that have the sparse products of a
// warpgroup (compute capability 9.0, code for sm_90a).
#pragma once

#include "../epilogue.h"
#include "memory.h"
#include "wide24_layout.h"

namespace sparsecore::cuda {

// Whether the current device runs this build's code for it. Elsewhere a product is refused by the
// driver.
bool has_wide24();

// `a` in slabs, in memory of `memory`. Slots past the last column become zeros.
Wide24View wide24_of(const Sparse24View& a, Memory& memory, Stream stream);

// out = epilogue(a @ x), x of the values' dtype. Where x has neither rows nor columns that begin at
// multiples of 16 bytes and lie one after the other, it is copied.
void wide24_product(const Wide24View& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
