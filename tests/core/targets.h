// Every CPU target, and the sizes that are awkward for its vectors.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "arrays.h"
#include "dispatch.h"

namespace sparsecore::testing {

// Calls body() with each target that can run here, one after the other.
template <class Body>
void for_each_target(Body body) {
  const std::string before(active_target());
  for (const std::string& target : supported_targets()) {
    INFO("target " << target);
    set_target(target);
    body();
  }
  set_target(before);
}

// Whether the run is to be short: SPARSECORE_TESTS=few, for where each instruction is emulated.
bool are_few();

// `all` numbers, or in a short run `few`.
inline std::vector<Index> either(std::vector<Index> all, std::vector<Index> few) {
  return are_few() ? few : all;
}

// Lanes of the active target's vectors of an accumulator.
Index lanes_of(DType accumulator);

// 1 ... 2 * lanes + 1; in a short run the first, and those at the ends of vectors.
std::vector<Index> sizes_around(Index lanes);

}  // namespace sparsecore::testing
