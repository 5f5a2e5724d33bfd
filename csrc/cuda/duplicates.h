// Values of repeated coordinates, summed on the device.
#pragma once

#include "../views.h"
#include "memory.h"

namespace sparsecore::cuda {

// Runs of entries: run u has the values order[starts[u]] ... order[starts[u + 1] - 1], the last up
// to `size`; order == nullptr: starts[u] ... themselves.
struct ValueRuns {
  const std::int64_t* order;
  const std::int64_t* starts;
  std::int64_t size;
};

// to[u] is the sum of run u of `runs`, added up in order, fp16 and bf16 in fp32 and rounded once;
// `values` are contiguous, `to` has their dtype. False where an int8 sum is outside int8: what was
// written is then of no use.
bool sum_runs(const VectorView& values, const ValueRuns& runs, std::int64_t count, void* to,
              Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
