// The kernel tables of one CPU target. CMake compiles this file once per target, with
// SPARSECORE_TARGET set to its name and the flags of its instruction set.
#include "../dispatch.h"
#include "block_permute.h"
#include "blocked_sweep.h"
#include "compress24.h"
#include "packed_sweep.h"
#include "row_scatter.h"
#include "row_sweep.h"
#include "sddmm.h"
#include "write_out.h"

namespace sparsecore::SPARSECORE_TARGET {
namespace {

template <class Acc>
constexpr Kernels<Acc> kTable = {
    .lanes = kLanes<Acc>,
    .tile_width = kTileVectors * kLanes<Acc>,
    .block_vectors = kBlockVectors,
    .permutes = kPermutesNeighbours && sizeof(Acc) == 4,
    .csr_sweep = csr_sweep<Acc>,
    .sparse24_sweep = sparse24_sweep<Acc>,
    .packed_sweep = packed_sweep<Acc>,
    .blocked_sweep = blocked_sweep<Acc>,
    .block_permute = block_permute<Acc>,
    .csr_scatter = csr_scatter<Acc>,
    .sddmm = sddmm<Acc>,
    .load_panel = load_panel<Acc>,
    .write_out = write_out<Acc>,
};

}  // namespace

extern const TargetKernels kKernels;
const TargetKernels kKernels = {
    .float64 = kTable<double>,
    .float32 = kTable<float>,
    .int32 = kTable<std::int32_t>,
    .compress24 = {.prune_row = prune_row, .compress_row = compress_row},
};

}  // namespace sparsecore::SPARSECORE_TARGET
