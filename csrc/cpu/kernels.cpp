// The kernel tables of one CPU target. CMake compiles this file once per target, with
// SPARSECORE_TARGET set to its name and the flags of its instruction set.
#include "../dispatch.h"
#include "block_permute.h"
#include "combined_sweep.h"
#include "compress24.h"
#include "dense_rows.h"
#include "depthwise.h"
#include "depthwise_pixels.h"
#include "max_pool.h"
#include "packed_sweep.h"
#include "patches.h"
#include "row_scatter.h"
#include "row_sweep.h"
#include "sddmm.h"
#include "sparse24_narrow.h"
#include "sparse24_wide.h"
#include "tap_planes.h"
#include "write_out.h"

namespace sparsecore::SPARSECORE_TARGET {
namespace {

// A template, so that what a target lacks is not compiled.
template <class Acc>
struct Narrow24 {
  static constexpr bool kExists = kHasPermuteQuads && sizeof(Acc) == 4;
  static constexpr auto product() -> void (*)(const Sparse24View&, const SweepTile<Acc>&) {
    if constexpr (kExists) return sparse24_narrow<Acc>;
    return nullptr;
  }
  static constexpr auto panel() -> void (*)(const MatrixView&, Acc*, std::int64_t) {
    if constexpr (kExists) return sparse24_panel<Acc>;
    return nullptr;
  }
};

template <class Acc>
constexpr CombinedKernels kCombined{};
template <>
constexpr CombinedKernels kCombined<std::int32_t> = {
    .widest = kWidestDot,
    .pair_sweep = combined_sweep<PairDot>,
    .quad_sweep = combined_sweep<QuadDot>,
    .load_pairs = load_combined<2>,
    .load_quads = load_combined<4>,
};

template <class Acc>
constexpr void (*kMaxPool)(const PoolTile<Acc>&) = max_pool<Acc>;
template <>
constexpr void (*kMaxPool<std::int32_t>)(const PoolTile<std::int32_t>&) = nullptr;

template <class Acc>
constexpr Kernels<Acc> kTable = {
    .lanes = kLanes<Acc>,
    .tile_width = kTileVectors * kLanes<Acc>,
    .block_vectors = kBlockVectors,
    .permutes = kPermutesNeighbours && sizeof(Acc) == 4,
    .csr_sweep = csr_sweep<Acc>,
    .sparse24_sweep = sparse24_sweep<Acc>,
    .packed_sweep = packed_sweep<Acc>,
    .combined = kCombined<Acc>,
    .block_permute = block_permute<Acc>,
    .wide24_vectors = kWide24Vectors,
    .sparse24_wide = sparse24_wide<Acc>,
    .sparse24_narrow = Narrow24<Acc>::product(),
    .sparse24_panel = Narrow24<Acc>::panel(),
    .csr_scatter = csr_scatter<Acc>,
    .sddmm = sddmm<Acc>,
    .load_panel = load_panel<Acc>,
    .load_patches = load_patches<Acc>,
    .load_tap_planes = load_tap_planes<Acc>,
    .depthwise = depthwise<Acc>,
    .depthwise_row = __is_same(Acc, float) ? depthwise_row : nullptr,
    .max_pool = kMaxPool<Acc>,
    .write_out = write_out<Acc>,
};

}  // namespace

extern const TargetKernels kKernels;
const TargetKernels kKernels = {
    .float64 = kTable<double>,
    .float32 = kTable<float>,
    .int32 = kTable<std::int32_t>,
    .compress24 = {.prune_row = prune_row, .compress_row = compress_row},
    .dense_rows = {.count_nonzeros = count_nonzeros, .fill_nonzeros = fill_nonzeros},
};

}  // namespace sparsecore::SPARSECORE_TARGET
