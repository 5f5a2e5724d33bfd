// Copies from global to shared memory that run beside the thread that starts them, and shared
// memory of a size that the launch decides (PTX ISA, "Data Movement and Conversion Instructions:
// Asynchronous copy": cp.async). The emulation of tests has a header of the same name.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace sparsecore::cuda {

// The block's memory of Grid::shared_bytes, at a multiple of 1024 bytes.
__device__ __forceinline__ char* dynamic_shared() {
  extern __shared__ __align__(1024) char dynamic_shared_memory[];
  return dynamic_shared_memory;
}

// What instructions name shared memory by: a number of bytes.
__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

// Starts a copy of `bytes`, 0 to 16; the rest of 16 is zeros. Both addresses are multiples of 16.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
}

// Makes a group of the copies that this thread has started since the last one.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for all groups of this thread but the last kPending.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace sparsecore::cuda
