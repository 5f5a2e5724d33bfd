// The conversions of CUDA's half precision types, by this project's own.
#pragma once

#include "dtype.h"

struct __half {
  std::uint16_t bits;
};
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline float __half2float(__half h) { return sparsecore::to_float(sparsecore::Half{h.bits}); }
inline __half __float2half_rn(float value) { return {sparsecore::to_half(value).bits}; }
