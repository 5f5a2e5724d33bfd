// Items of 8 bits as floats of 16 bits, which hold each of them exactly, four at a time.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ptx.h"
#include "scalars.h"

namespace sparsecore::cuda {

// Two numbers that T has.
template <class T>
__device__ __forceinline__ std::uint32_t exact_pair(float first, float second) {
  if constexpr (std::is_same_v<T, BFloat16>) {  // the other halves of fp32 are zeros
    return __float_as_uint(first) >> 16 | (__float_as_uint(second) & 0xffff0000u);
  } else {
    static_assert(std::is_same_v<T, Half>);
    return __half_as_ushort(__float2half_rn(first)) |
           std::uint32_t{__half_as_ushort(__float2half_rn(second))} << 16;
  }
}

// An int8 as the last bits of 2^23 + 128 + item: a logical operation and an addition, where a
// conversion has a quarter of their rate.
__device__ __forceinline__ float int8_at(std::uint32_t four, int i) {
  return __uint_as_float(0x4b000000u | ((four >> (8 * i) & 0xffu) ^ 0x80u)) - 8388736.0f;
}

// Two 8-bit floats in fp16: e5m2 is its upper half.
template <class V>
__device__ __forceinline__ std::uint32_t halves_of(std::uint32_t pair) {
  if constexpr (std::is_same_v<V, Float8E5M2>) {
    return (pair & 0xffu) << 8 | (pair & 0xff00u) << 16;
  } else if constexpr (kConvertsE4M3) {
    return halves_of_e4m3(static_cast<std::uint16_t>(pair));
  } else {
    return exact_pair<Half>(to_float(Float8E4M3{static_cast<std::uint8_t>(pair)}),
                            to_float(Float8E4M3{static_cast<std::uint8_t>(pair >> 8)}));
  }
}

// Items 0 ... 3 of `four`, of type V, two a word.
template <class V, class T>
__device__ __forceinline__ void widen(std::uint32_t four, std::uint32_t* two) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if constexpr (std::is_same_v<V, std::int8_t>) {
      two[i] = exact_pair<T>(int8_at(four, 2 * i), int8_at(four, 2 * i + 1));
    } else {
      two[i] = halves_of<V>(four >> (16 * i) & 0xffffu);
      if constexpr (std::is_same_v<T, BFloat16>) {
        two[i] = exact_pair<T>(widened<float>(Half{static_cast<std::uint16_t>(two[i])}),
                               widened<float>(Half{static_cast<std::uint16_t>(two[i] >> 16)}));
      }
    }
  }
}

}  // namespace sparsecore::cuda
