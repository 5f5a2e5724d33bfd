// Matrix products of a warpgroup (four warps, the first of which has a number divisible by four)
// with a sparse left side in registers and a right side in shared memory (PTX ISA 9.0, section
// 9.7.15, "Asynchronous Warpgroup Level Matrix Instructions"). The emulation of tests has a header
// of the same name.
#pragma once

#include <cstdint>
#include <type_traits>

#include "dtype.h"

namespace sparsecore::cuda {

// Only code for sm_90a has these instructions: others discard what uses them.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool kHasWgmma = true;
#else
constexpr bool kHasWgmma = false;
#endif

// Writes of this thread to shared memory, by copies it has waited for, too, are seen by products
// that are started after a barrier (PTX ISA, "Async proxy": wgmma reads through it, cp.async writes
// through the generic one).
__device__ __forceinline__ void fence_for_wgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Between what else a thread does with the registers of a product and the product ("wgmma.fence").
__device__ __forceinline__ void begin_wgmma() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// Makes a group of the products since the last one; waits for all groups but the last kPending
// ("wgmma.commit_group", "wgmma.wait_group"). Until then their registers and what they read in
// shared memory are not to be touched.
__device__ __forceinline__ void commit_wgmma() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void wait_for_wgmma() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps what is done with sums before their products before them, and what is done after the wait
// for them after it. (Zeros that are set between two products make the compiler wait for each.)
template <int kCount>
__device__ __forceinline__ void keep_in_order(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

#define SPARSECORE_REGISTERS                                                         \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SPARSECORE_SUMS                                                                           \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),  \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),  \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),  \
      "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),  \
      "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),  \
      "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),  \
      "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define SPARSECORE_WGMMA(type)                                                                   \
  asm volatile("wgmma.mma_async.sp.sync.aligned.m64n128k32.f32." type "." type                   \
               " {" SPARSECORE_REGISTERS "}, {%64, %65, %66, %67}, %68, %69, %70, 1, 1, 1, %71;" \
               : SPARSECORE_SUMS                                                                 \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(metadata),              \
                 "n"(kSelector), "n"(kAlongN ? 1 : 0))

// d += a b: a 64 x 32, 2:4; b 32 x 128. Warp w of the group has rows 16 w ... 16 w + 15. With
// g = lane / 4 and t = lane % 4 a lane holds, as of m64nNk16 with what is stored of a ("Register
// Fragments"): a[0] = stored items 2t, 2t + 1 of row g, a[1] = of row g + 8, a[2] and a[3] the same
// eight items further; d[4 j ...] = d(g, 8 j + 2 t ... + 1), d(g + 8, same).
// The metadata of rows g (low half) and g + 8 (high half) are in the lanes t = 2 * kSelector (of
// columns 0 to 15) and t = 2 * kSelector + 1 (16 to 31), a nibble a group of four ("Sparse matrix
// storage", "Sparsity selector"). `b` is a descriptor (shared_tile.h); kAlongN: its rows of 128
// bytes run along n, not k.
template <class T, int kSelector, bool kAlongN>
__device__ __forceinline__ void wgmma_sparse(float (&d)[64], const std::uint32_t (&a)[4],
                                             std::uint32_t metadata, std::uint64_t b) {
  if constexpr (std::is_same_v<T, Half>) {
    SPARSECORE_WGMMA("f16");
  } else {
    static_assert(std::is_same_v<T, BFloat16>);
    SPARSECORE_WGMMA("bf16");
  }
}
#undef SPARSECORE_REGISTERS
#undef SPARSECORE_SUMS
#undef SPARSECORE_WGMMA

}  // namespace sparsecore::cuda
