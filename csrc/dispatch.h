// Which CPU target runs: detected once, overridable by SPARSECORE_TARGET and set_target().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels.h"

namespace sparsecore {

struct TargetKernels {
  Kernels<double> float64;
  Kernels<float> float32;
  Kernels<std::int32_t> int32;
  Compress24Kernels compress24;
  DenseRowKernels dense_rows;
};

// Names, the best last: every target in this build, and those that this processor can run.
std::vector<std::string> compiled_targets();
std::vector<std::string> supported_targets();

// The active target. The first call reads SPARSECORE_TARGET and throws std::invalid_argument if
// it names a target that is unknown or cannot run here.
std::string_view active_target();
void set_target(std::string_view name);

const TargetKernels& active_kernels();

// Whether this processor multiplies bytes four at a time, 64-byte vectors included.
bool has_avx512_vnni();

// Who made the processor: its gathers and shuffles cost otherwise than others' (choose.cpp). So
// that the ways for all of them are tested on any, tests choose; nullopt goes back to the true one.
enum class Maker : std::uint8_t { kAmd, kOther };
Maker processor_maker();
void set_processor_maker(std::optional<Maker> maker);

template <class Acc>
const Kernels<Acc>& kernels();
template <>
inline const Kernels<double>& kernels<double>() {
  return active_kernels().float64;
}
template <>
inline const Kernels<float>& kernels<float>() {
  return active_kernels().float32;
}
template <>
inline const Kernels<std::int32_t>& kernels<std::int32_t>() {
  return active_kernels().int32;
}

}  // namespace sparsecore
