// The CUDA side of a build without CUDA: the same symbols, one answer.
#include "runtime.h"

namespace sparsecore::cuda {

Status status() { return {false, "this sparsecore was built without CUDA (SPARSECORE_CUDA)"}; }

}  // namespace sparsecore::cuda
