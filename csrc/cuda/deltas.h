// The deltas of strips.h.
#pragma once

#include "strip_product.h"

namespace sparsecore::cuda {

StripView deltas_of(const CsrView& a, StripForm form, Memory& memory, Stream stream);
void move_delta_values(const CsrView& a, const StripView& deltas, StripMove move, Memory& memory,
                       Stream stream);
void delta_product(const StripView& a, const StripOperands& operands, Stream stream);

}  // namespace sparsecore::cuda
