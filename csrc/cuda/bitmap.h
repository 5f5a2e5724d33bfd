// The bitmap of strips.h.
#pragma once

#include "strip_product.h"

namespace sparsecore::cuda {

// The masks of a pattern: [strips][blocks][32], kBitmapColumns a block.
std::uint32_t* bitmap_masks(const CsrView& a, Memory& memory, Stream stream);

StripView bitmap_of(const CsrView& a, Memory& memory, Stream stream);
void move_bitmap_values(const CsrView& a, const StripView& bitmap, StripMove move, Memory& memory,
                        Stream stream);
void bitmap_product(const StripView& a, const StripOperands& operands, Stream stream);

}  // namespace sparsecore::cuda
