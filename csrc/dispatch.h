// Which CPU target runs: detected once, overridable by SPARSECORE_TARGET and set_target().
#pragma once

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

// Names, narrowest first: every target in this build, and those that this processor can run.
std::vector<std::string> compiled_targets();
std::vector<std::string> supported_targets();

// The active target. The first call reads SPARSECORE_TARGET and throws std::invalid_argument if
// it names a target that is unknown or cannot run here.
std::string_view active_target();
void set_target(std::string_view name);

const TargetKernels& active_kernels();

// Whether this processor multiplies bytes four at a time, 64-byte vectors included.
bool has_avx512_vnni();

// This processor's faster way to gather. AMD's gathers take longer than the loads that they consist
// of: on Zen 5 1.5 to 1.8 times, where Intel's Xeons take 0.75 times as long (docs/adr/0011). So
// that either way is tested on any processor, tests choose; nullopt goes back to the processor's.
Gathers best_gathers();
void set_gathers(std::optional<Gathers> gathers);

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
