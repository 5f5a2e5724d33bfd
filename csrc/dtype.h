// Storage types: their names, sizes and conversions to the types that arithmetic is done in.
//
// Everything here is always inlined: this header is compiled once per CPU target, and a shared
// out-of-line copy could hold instructions the running processor lacks.
#pragma once

#include <cstdint>

#ifdef __CUDACC__  // kernels of the device use it, too
#define SPARSECORE_INLINE inline __host__ __device__ __attribute__((always_inline))
#else
#define SPARSECORE_INLINE inline __attribute__((always_inline))
#endif

namespace sparsecore {

// (The 8-bit floating types are stored by 2:4 matrices only: sparse24_matmul widens them.)
enum class DType : std::uint8_t {
  kFloat64,
  kFloat32,
  kFloat16,
  kBFloat16,
  kInt8,
  kInt32,
  kFloat8E4M3,
  kFloat8E5M2
};

// IEEE binary16 and bfloat16 as they lie in memory.
struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};
// OCP's 8-bit floating-point formats (Micikevicius et al., "FP8 formats for deep learning", 2022):
// E4M3, as float8_e4m3fn, has no infinities and NaN in the largest magnitude only.
struct Float8E4M3 {
  std::uint8_t bits;
};
struct Float8E5M2 {
  std::uint8_t bits;
};

constexpr SPARSECORE_INLINE std::int64_t item_size(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return 8;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    case DType::kInt8:
    case DType::kFloat8E4M3:
    case DType::kFloat8E5M2:
      return 1;
  }
  return 0;
}

constexpr SPARSECORE_INLINE const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return "float64";
    case DType::kFloat32:
      return "float32";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kInt8:
      return "int8";
    case DType::kInt32:
      return "int32";
    case DType::kFloat8E4M3:
      return "float8_e4m3fn";
    case DType::kFloat8E5M2:
      return "float8_e5m2";
  }
  return "?";
}

constexpr SPARSECORE_INLINE bool is_floating(DType dtype) {
  return dtype != DType::kInt8 && dtype != DType::kInt32;
}

constexpr SPARSECORE_INLINE bool is_float8(DType dtype) {
  return dtype == DType::kFloat8E4M3 || dtype == DType::kFloat8E5M2;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kFloat64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat32;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::kInt32;
};

// Calls body with an unsigned integer of item_size bytes: for loops that only move items.
template <class Body>
SPARSECORE_INLINE decltype(auto) with_item_size(std::int64_t item_size, Body&& body) {
  switch (item_size) {
    case 1:
      return body(std::uint8_t{});
    case 2:
      return body(std::uint16_t{});
    case 4:
      return body(std::uint32_t{});
    default:
      return body(std::uint64_t{});
  }
}

SPARSECORE_INLINE float to_float(Half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000u) << 16;
  const std::uint32_t rest = static_cast<std::uint32_t>(h.bits & 0x7fffu) << 13;
  // Shifted, the exponent is 112 too small; the multiplication mends it, subnormals included.
  const float scaled = __builtin_bit_cast(float, rest) * __builtin_bit_cast(float, 0x77800000u);
  std::uint32_t bits = __builtin_bit_cast(std::uint32_t, scaled);
  if (rest >= 0x0f800000u) bits = rest | 0x7f800000u;  // infinities and NaN
  return __builtin_bit_cast(float, bits | sign);
}

SPARSECORE_INLINE float to_float(BFloat16 b) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(b.bits) << 16);
}

// The upper half of a binary16.
SPARSECORE_INLINE float to_float(Float8E5M2 f) {
  return to_float(Half{static_cast<std::uint16_t>(f.bits << 8)});
}

// The exponent is 8 too small in a binary16, whose mantissa has three more bits in front of it.
SPARSECORE_INLINE float to_float(Float8E4M3 f) {
  const unsigned magnitude = f.bits & 0x7fu, sign = f.bits & 0x80u;
  const unsigned half = magnitude == 0x7fu ? 0x7e00u : magnitude << 7;
  const float scaled = to_float(Half{static_cast<std::uint16_t>(sign << 8 | half)});
  return magnitude == 0x7fu ? scaled : scaled * 256.0f;
}

// Round to nearest, ties to even; overflow becomes infinity; NaN stays a quiet NaN.
SPARSECORE_INLINE Half to_half(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: let the addition of 1/2 do the rounding
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
    half = __builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return Half{static_cast<std::uint16_t>(sign | half)};
}

SPARSECORE_INLINE BFloat16 to_bfloat16(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x40u;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return BFloat16{static_cast<std::uint16_t>(is_nan ? quiet_nan : rounded)};
}

}  // namespace sparsecore
