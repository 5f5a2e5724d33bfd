// As much of CUDA's language and runtime as the kernels use, on the processor (simt.h). Device
// memory is the processor's own, so that its sanitizers see what a kernel touches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simt.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

// ---- the runtime ----

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
using cudaStream_t = struct CUstream_st*;

enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76
};

struct cudaDeviceProp {
  char name[32] = "an emulated device";
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid argument";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) { return *p = {}, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  return *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9 : 0, cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaDeviceSynchronize() {
  return simt::note(simt::Waiting::kSynchronization), cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                                   cudaMemcpyKind kind, cudaStream_t) {
  // The host's memory here is pageable: the copy returns when it is done.
  if (kind == cudaMemcpyDeviceToHost) simt::note(simt::Waiting::kCopyToHost);
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int byte, std::size_t bytes, cudaStream_t) {
  if (bytes > 0) std::memset(to, byte, bytes);
  return cudaSuccess;
}

struct cudaFuncAttributes {
  int maxThreadsPerBlock = 1024;
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, Kernel*) {
  return *found = {}, cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

template <class... Expected, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Given&&... given) {
  simt::run(config->gridDim, config->blockDim, config->dynamicSmemBytes,
            [&] { kernel(static_cast<Expected>(given)...); });
  return cudaSuccess;
}

// ---- a block and its warps ----

inline void __syncthreads() { simt::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { simt::ballot(mask, false); }
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  return simt::ballot(mask, predicate);
}
inline int __any_sync(unsigned mask, bool predicate) { return simt::ballot(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, bool predicate) {
  return simt::ballot(mask, predicate) == mask;
}

namespace simt {

template <class T>
T shuffled(unsigned mask, T value, unsigned lane) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = from_lane(mask, bits, lane);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace simt

// Lanes outside the segment of `width` read their own value, as the hardware has it.
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const unsigned self = simt::lane_of_this_thread(), w = static_cast<unsigned>(width);
  return simt::shuffled(mask, value, self / w * w + static_cast<unsigned>(lane) % w);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const unsigned self = simt::lane_of_this_thread(), w = static_cast<unsigned>(width);
  const unsigned other = self ^ static_cast<unsigned>(lanes);
  return simt::shuffled(mask, value, other / w == self / w ? other : self);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned self = simt::lane_of_this_thread(), w = static_cast<unsigned>(width);
  return simt::shuffled(mask, value, self % w >= delta ? self - delta : self);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned self = simt::lane_of_this_thread(), w = static_cast<unsigned>(width);
  return simt::shuffled(mask, value, self % w + delta < w ? self + delta : self);
}

// ---- one thread ----

[[noreturn]] inline void __trap() { simt::leave("a trap"); }
// Whoever sleeps waits for what another block has to write.
inline void __nanosleep(unsigned) { simt::yield_to_blocks(); }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }

// The products of four bytes each, added to `sum`.
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  for (unsigned shift = 0; shift < 32; shift += 8)
    sum += (a >> shift & 0xffu) * (b >> shift & 0xffu);
  return sum;
}

template <class T>
T __ldg(const T* p) {
  return *p;
}

// No two threads run at once.
template <class T>
T atomicAdd(T* p, T value) {
  const T before = *p;
  *p = static_cast<T>(before + value);
  return before;
}
template <class T>
T atomicOr(T* p, T value) {
  const T before = *p;
  *p = static_cast<T>(before | value);
  return before;
}
template <class T>
T atomicMax(T* p, T value) {
  const T before = *p;
  if (value > before) *p = value;
  return before;
}
template <class T>
T atomicMin(T* p, T value) {
  const T before = *p;
  if (value < before) *p = value;
  return before;
}

inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
inline unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }
