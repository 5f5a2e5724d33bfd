// The conversions of CUDA's bfloat16, by this project's own.
#pragma once

#include "dtype.h"

struct __nv_bfloat16 {
  std::uint16_t bits;
};
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }
inline float __bfloat162float(__nv_bfloat16 b) {
  return sparsecore::to_float(sparsecore::BFloat16{b.bits});
}
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  return {sparsecore::to_bfloat16(value).bits};
}
