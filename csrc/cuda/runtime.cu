// The CUDA side's view of the machine.
#include <cuda_runtime_api.h>

#include "runtime.h"

namespace sparsecore::cuda {
namespace {

// Launching it is the only sure proof that this build has code for the device at hand.
__global__ void probe() {}

std::string with_reason(const char* what, cudaError_t error) {
  return std::string(what) + ": " + cudaGetErrorString(error);
}

}  // namespace

Status status() {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return {false, with_reason("no CUDA device was found", error)};
  if (count == 0) return {false, "the CUDA driver sees no device"};
  cudaDeviceProp properties{};
  error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) return {false, with_reason("the device does not answer", error)};
  probe<<<1, 1>>>();
  error = cudaGetLastError();
  if (error == cudaSuccess) error = cudaDeviceSynchronize();
  if (error != cudaSuccess) {
    return {false, with_reason("this build has no code that the device runs", error)};
  }
  return {false, std::string("a device was found (") + properties.name +
                     "), but this version has no CUDA product yet"};
}

}  // namespace sparsecore::cuda
