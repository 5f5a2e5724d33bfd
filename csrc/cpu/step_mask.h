// Loads of neighbouring elements, or of every second, of which some are not there.
#pragma once

#include "shuffle.h"

namespace sparsecore::SPARSECORE_TARGET {

// Bit i becomes bit 2 * i, of the lowest 16.
SPARSECORE_INLINE std::uint64_t at_even_bits(std::uint64_t bits) {
#if defined(__BMI2__)
  return _pdep_u64(bits, 0x55555555u);
#else
  bits &= 0xffffu;
  bits = (bits | bits << 8) & 0x00ff00ffu;
  bits = (bits | bits << 4) & 0x0f0f0f0fu;
  bits = (bits | bits << 2) & 0x33333333u;
  return (bits | bits << 1) & 0x55555555u;
#endif
}

template <class T>
constexpr std::uint64_t kLanesSet = ~(~std::uint64_t{0} << kLanes<T>);

template <class V, int... kLane>
SPARSECORE_INLINE V even_lanes_as(V a, V b, Order<kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane)...);
}

// Which of p[0], p[kStep], ... to load; zero stands for the others.
template <class T, int kStep>
struct StepMask;

template <class T>
struct StepMask<T, 1> {
  LaneMask<T> mask;
  SPARSECORE_INLINE explicit StepMask(std::uint64_t bits) : mask(LaneMask<T>::of_bits(bits)) {}
  SPARSECORE_INLINE Vec<T> load_from(const T* p) const { return load(p, mask); }
};

template <class T>
struct StepMask<T, 2> {
  LaneMask<T> low, high;
  SPARSECORE_INLINE explicit StepMask(std::uint64_t bits)
      : low(LaneMask<T>::of_bits(at_even_bits(bits) & kLanesSet<T>)),
        high(LaneMask<T>::of_bits(at_even_bits(bits) >> kLanes<T>)) {}
  SPARSECORE_INLINE Vec<T> load_from(const T* p) const {
    return even_lanes_as(load(p, low), load(p + kLanes<T>, high), Ascending<kLanes<T>>{});
  }
};

}  // namespace sparsecore::SPARSECORE_TARGET
