// Numbers in device memory and the types that are computed in.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../views.h"

namespace sparsecore::cuda {

// What sums of products with an X of this type are kept in, and what the result is stored as.
template <class X>
struct SumsOf {
  using Acc = float;
  using Out = X;
};
template <>
struct SumsOf<double> {
  using Acc = double;
  using Out = double;
};
template <>
struct SumsOf<std::int8_t> {
  using Acc = std::int32_t;
  using Out = std::int32_t;
};
template <class X>
using AccOf = typename SumsOf<X>::Acc;
template <class X>
using OutOf = typename SumsOf<X>::Out;

// Calls body with a zero of the type that an operand's dtype names: what kernels are compiled for.
template <class Body>
void with_operand_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat64:
      return body(double{});
    case DType::kFloat32:
      return body(float{});
    case DType::kFloat16:
      return body(Half{});
    case DType::kBFloat16:
      return body(BFloat16{});
    default:
      return body(std::int8_t{});
  }
}

template <class Acc>
__device__ __forceinline__ Acc widened(double v) {
  return static_cast<Acc>(v);
}
template <class Acc>
__device__ __forceinline__ Acc widened(float v) {
  return static_cast<Acc>(v);
}
template <class Acc>
__device__ __forceinline__ Acc widened(Half v) {
  return static_cast<Acc>(__half2float(__ushort_as_half(v.bits)));
}
template <class Acc>
__device__ __forceinline__ Acc widened(BFloat16 v) {
  return static_cast<Acc>(to_float(v));
}
template <class Acc>
__device__ __forceinline__ Acc widened(Float8E4M3 v) {
  return static_cast<Acc>(to_float(v));
}
template <class Acc>
__device__ __forceinline__ Acc widened(Float8E5M2 v) {
  return static_cast<Acc>(to_float(v));
}
template <class Acc>
__device__ __forceinline__ Acc widened(std::int8_t v) {
  return static_cast<Acc>(v);
}
template <class Acc>
__device__ __forceinline__ Acc widened(std::int32_t v) {
  return static_cast<Acc>(v);
}

__device__ __forceinline__ void store(double* p, double v) { *p = v; }
__device__ __forceinline__ void store(float* p, float v) { *p = v; }
__device__ __forceinline__ void store(std::int32_t* p, std::int32_t v) { *p = v; }
__device__ __forceinline__ void store(Half* p, float v) {
  p->bits = __half_as_ushort(__float2half_rn(v));
}
__device__ __forceinline__ void store(BFloat16* p, float v) {
  p->bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
}

// Item i of an array whose type is known at run time only: all threads take the same branch.
template <class Acc>
__device__ __forceinline__ Acc load_as(const void* data, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::kFloat64:
      return widened<Acc>(static_cast<const double*>(data)[i]);
    case DType::kFloat32:
      return widened<Acc>(static_cast<const float*>(data)[i]);
    case DType::kFloat16:
      return widened<Acc>(static_cast<const Half*>(data)[i]);
    case DType::kBFloat16:
      return widened<Acc>(static_cast<const BFloat16*>(data)[i]);
    case DType::kInt8:
      return widened<Acc>(static_cast<const std::int8_t*>(data)[i]);
    case DType::kFloat8E4M3:
      return widened<Acc>(static_cast<const Float8E4M3*>(data)[i]);
    case DType::kFloat8E5M2:
      return widened<Acc>(static_cast<const Float8E5M2*>(data)[i]);
    default:
      return widened<Acc>(static_cast<const std::int32_t*>(data)[i]);
  }
}

// A few items that move as one, or 16 bytes at a time where they are more.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Vector {
  T items[kCount];
};

}  // namespace sparsecore::cuda
