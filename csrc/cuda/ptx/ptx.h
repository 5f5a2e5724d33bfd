// The instructions that CUDA's language has no name for (PTX ISA, "Warp Level Matrix
// Instructions"). The emulation of tests has a header of the same name.
#pragma once

#include <cstdint>
#include <type_traits>

#include "dtype.h"

namespace sparsecore::cuda {

// d += a b of a whole warp: a 16 x 16, b 16 x 8. With g = lane / 4 and t = lane % 4 a lane holds
// a[0] = a(g, 2t ... 2t + 1), a[1] = a(g + 8, same), a[2] and a[3] the same at k + 8;
// b[0] = b(2t ... 2t + 1, g), b[1] the same at k + 8; d(g, 2t ... 2t + 1), d(g + 8, same).
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]);
template <>
__device__ __forceinline__ void mma_m16n8k16<Half>(float (&d)[4], const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void mma_m16n8k16<BFloat16>(float (&d)[4], const std::uint32_t (&a)[4],
                                                       const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b with a 2:4 matrix a, 16 x 32 of which 16 a row are stored, and b, 32 x 8 ("mma.sp" in
// the same chapter). With g = lane / 4 and t = lane % 4 a lane holds, two items a word, of a: group
// t of four columns of row g and of row g + 8, group t + 4 of both; of b: rows 2t ... 2t + 1 of
// column g, and those 8, 16 and 24 further. Metadata come from the lanes 4 g + 2 kSelector + j: the
// nibbles of groups 4 j ... 4 j + 3 of row g, and above them those of row g + 8.
template <class T, int kSelector>
__device__ __forceinline__ void mma_sp_m16n8k32(float (&d)[4], const std::uint32_t (&a)[4],
                                                const std::uint32_t (&b)[4],
                                                std::uint32_t metadata) {
  if constexpr (std::is_same_v<T, Half>) {
    asm("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
        "{%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, %13;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]),
          "r"(metadata), "n"(kSelector));
  } else {
    asm("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
        "{%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, %13;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]),
          "r"(metadata), "n"(kSelector));
  }
}

// The same of int8 with sums in int32: a 16 x 64, b 64 x 8, four items a word. A lane holds of a:
// groups 2t and 2t + 1 of row g, then of row g + 8, and groups 2t + 8 and 2t + 9 of both; of b:
// rows 4t ... 4t + 3 of column g, and those 16, 32 and 48 further. Lane 4 g + 2 j + h has the
// nibbles of groups 8 j ... 8 j + 7 of row g + 8 h: all four of a quad are read, and the selector
// is 0.
__device__ __forceinline__ void mma_sp_m16n8k64(std::int32_t (&d)[4], const std::uint32_t (&a)[4],
                                                const std::uint32_t (&b)[4],
                                                std::uint32_t metadata) {
  asm("mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, "
      "{%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, 0x0;"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]),
        "r"(metadata));
}

// Two items of e4m3, the first in the low byte, in fp16, which has all of them; for devices that
// convert them (compute capability 8.9 on).
#if __CUDA_ARCH__ >= 890
constexpr bool kConvertsE4M3 = true;
#else
constexpr bool kConvertsE4M3 = false;
#endif
__device__ __forceinline__ std::uint32_t halves_of_e4m3(std::uint16_t pair) {
  std::uint32_t halves = 0;
#if __CUDA_ARCH__ >= 890
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(pair));
#endif
  return halves;
}

// The nearest number of ten bits of mantissa, ties away from zero.
__device__ __forceinline__ std::uint32_t to_tf32(float value) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

// The same with a 16 x 8, b 8 x 8, of tf32 numbers: a lane holds a(g, t), a(g + 8, t), a(g, t + 4),
// a(g + 8, t + 4); b(t, g), b(t + 4, g).
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace sparsecore::cuda
