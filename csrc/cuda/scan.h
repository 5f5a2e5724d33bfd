// Sums of all that comes before.
#pragma once

#include "memory.h"

namespace sparsecore::cuda {

// Replaces items[i] by the sum of items[0] ... items[i - 1].
void exclusive_sum(std::int64_t* items, std::int64_t count, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
