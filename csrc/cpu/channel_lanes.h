// Vectors of channels: whole, or the rest of them; and products in some of their lanes only.
#pragma once

#include <cstdint>

#include "step_mask.h"

namespace sparsecore::SPARSECORE_TARGET {

// Lanes of a vector whose bit is set: what the others would meet is not read.
struct SomeLanes {
#if defined(__AVX2__)
  LaneMask<float> mask = LaneMask<float>(0);
  SPARSECORE_INLINE SomeLanes() = default;
  explicit SPARSECORE_INLINE SomeLanes(std::uint32_t bits)
      : mask(LaneMask<float>::of_bits(bits & kLanesSet<float>)) {}
#else
  Vec<std::int32_t> mask = {};
  SPARSECORE_INLINE SomeLanes() = default;
  explicit SPARSECORE_INLINE SomeLanes(std::uint32_t bits) {
    for (int i = 0; i < kLanes<float>; ++i) mask[i] = -static_cast<std::int32_t>(bits >> i & 1u);
  }
#endif
  // sum + weight * p[...]; the whole vector may be read.
  SPARSECORE_INLINE Vec<float> add_product(Vec<float> weight, const float* p,
                                           Vec<float> sum) const {
#if defined(__AVX512F__)
    return _mm512_mask3_fmadd_ps(weight, load(p), sum, static_cast<__mmask16>(mask.bits));
#elif defined(__AVX2__)
    return fma<float>(weight, load(p, mask), sum);
#else
    using Floats = Vec<float>;
    using Ints = Vec<std::int32_t>;
    const Ints bits = reinterpret_cast<Ints>(load(p)) & mask;
    return fma<float>(weight, reinterpret_cast<Floats>(bits), sum);
#endif
  }
};

// A vector of channels.
struct WholeVector {
  using Lanes = SomeLanes;
  SPARSECORE_INLINE Vec<float> load_from(const float* p) const { return load(p); }
  SPARSECORE_INLINE void store_to(float* p, Vec<float> v) const { store(p, v); }
};
// The last channels, fewer than lanes.
struct VectorPart {
  struct Lanes {
    LaneMask<float> mask = LaneMask<float>(0);
    SPARSECORE_INLINE Lanes() = default;
    explicit SPARSECORE_INLINE Lanes(std::uint32_t bits)
        : mask(LaneMask<float>::of_bits(bits & kLanesSet<float>)) {}
    SPARSECORE_INLINE Vec<float> add_product(Vec<float> weight, const float* p,
                                             Vec<float> sum) const {
      return fma<float>(weight, load(p, mask), sum);
    }
  };
  LaneMask<float> mask;
  SPARSECORE_INLINE Vec<float> load_from(const float* p) const { return load(p, mask); }
  SPARSECORE_INLINE void store_to(float* p, Vec<float> v) const { store(p, v, mask); }
};

}  // namespace sparsecore::SPARSECORE_TARGET
