// Tests of the core without Python: under valgrind, under emulators, and for vectors wider than the
// processor's.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "targets.h"

namespace sparsecore::testing {

bool are_few() {
  static const char* const tests = std::getenv("SPARSECORE_TESTS");
  return tests != nullptr && std::strcmp(tests, "few") == 0;
}

Index lanes_of(DType accumulator) {
  switch (accumulator) {
    case DType::kFloat64:
      return kernels<double>().lanes;
    case DType::kInt32:
      return kernels<std::int32_t>().lanes;
    default:
      return kernels<float>().lanes;
  }
}

std::vector<Index> sizes_around(Index lanes) {
  std::vector<Index> sizes;
  for (Index size = 1; size <= 2 * lanes + 1; ++size) {
    const bool is_edge = (size + 1) % lanes <= 2;
    if (!are_few() || size == 1 || is_edge) sizes.push_back(size);
  }
  return sizes;
}

}  // namespace sparsecore::testing

int main(int argc, char** argv) {
  using namespace sparsecore;  // NOLINT(google-build-using-namespace)
  const int result = doctest::Context(argc, argv).run();
  const std::vector<std::string> supported = supported_targets();
  for (const std::string& target : compiled_targets()) {
    const bool ran = std::find(supported.begin(), supported.end(), target) != supported.end();
    std::cout << target << (ran ? ": tested\n" : ": not run, this processor does not support it\n");
  }
  return result;
}
