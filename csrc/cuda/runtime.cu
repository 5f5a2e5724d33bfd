// The CUDA side's view of the machine.
#include "launch.h"
#include "runtime.h"

namespace sparsecore::cuda {
namespace {

// Launching it is the only sure proof that this build has code for the device at hand.
__global__ void probe() {}

}  // namespace

Status status() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    return {false, std::string("no CUDA device was found: ") + cudaGetErrorString(error)};
  }
  if (count == 0) return {false, "the CUDA driver sees no device"};
  try {
    launch("this build has no code that the device runs", probe, {1, 1, 1}, nullptr);
    check(cudaDeviceSynchronize(), "the device does not answer");
  } catch (const std::runtime_error& reason) {
    return {false, reason.what()};
  }
  return {true, ""};
}

std::string architecture(int device) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "asking for the device's compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "asking for the device's compute capability");
  return "sm_" + std::to_string(major) + std::to_string(minor);
}

}  // namespace sparsecore::cuda
