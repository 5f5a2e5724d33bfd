// What the CUDA side says of itself. Built from runtime.cu with CUDA, unavailable.cpp without.
#pragma once

#include <string>

namespace sparsecore::cuda {

struct Status {
  bool available;
  std::string reason;  // why not
};

// Probes the driver at the call, never at import: probing early breaks forked children.
Status status();

}  // namespace sparsecore::cuda
