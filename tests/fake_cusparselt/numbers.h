// Numbers of the library's types, one at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "dtype.h"
#include "objects.h"

namespace fake {

template <class T>
T item(const void* data, std::int64_t at) {
  T value;
  std::memcpy(&value, static_cast<const T*>(data) + at, sizeof(T));
  return value;
}
template <class T>
void put(void* data, std::int64_t at, T value) {
  std::memcpy(static_cast<T*>(data) + at, &value, sizeof(T));
}

// Sign, 4 bits of exponent with a bias of 7, 3 of mantissa; 0x7f is NaN, and there is no infinity.
inline double e4m3(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double sign = bits >> 7 != 0 ? -1 : 1;
  if (exponent == 15 && mantissa == 7) return NAN;
  return exponent == 0 ? sign * std::ldexp(mantissa, -9)
                       : sign * std::ldexp(8 + mantissa, exponent - 10);
}

inline double number(const void* data, std::int64_t at, int type) {
  switch (type) {
    case kFloat32:
      return static_cast<double>(item<float>(data, at));
    case kFloat16:
      return static_cast<double>(sparsecore::to_float(item<sparsecore::Half>(data, at)));
    case kBFloat16:
      return static_cast<double>(sparsecore::to_float(item<sparsecore::BFloat16>(data, at)));
    case kInt8:
      return item<std::int8_t>(data, at);
    case kInt32:
      return item<std::int32_t>(data, at);
    default:
      return e4m3(item<std::uint8_t>(data, at));
  }
}

// As tensor cores multiply it: float32 is rounded to TF32, 10 bits of mantissa.
inline double multiplied(const void* data, std::int64_t at, int type) {
  if (type != kFloat32) return number(data, at, type);
  const std::uint32_t bits = (item<std::uint32_t>(data, at) + 0x1000u) & 0xffffe000u;
  return static_cast<double>(__builtin_bit_cast(float, bits));
}

inline void store(void* data, std::int64_t at, int type, float value) {
  switch (type) {
    case kFloat32:
      return put(data, at, value);
    case kFloat16:
      return put(data, at, sparsecore::to_half(value));
    case kBFloat16:
      return put(data, at, sparsecore::to_bfloat16(value));
    case kInt32:
      return put(data, at, static_cast<std::int32_t>(std::nearbyint(value)));
    default:
      return put(data, at,
                 static_cast<std::int8_t>(std::clamp(std::nearbyint(value), -128.0f, 127.0f)));
  }
}

}  // namespace fake
