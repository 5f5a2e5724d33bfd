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

// "sm_90" of a device of compute capability 9.0; std::runtime_error where it cannot be asked.
std::string architecture(int device);

}  // namespace sparsecore::cuda
