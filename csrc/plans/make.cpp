// Which plan suits a matrix, and the pair of them that suits both directions.
#include <stdexcept>
#include <string>
#include <utility>

#include "../choose.h"
#include "../dispatch.h"
#include "../plan.h"
#include "../transpose.h"

namespace sparsecore {
namespace {

std::string_view suitable(const CsrStructure& a, DType dtype, std::int64_t columns) {
  const bool permutes = kernels<float>().permutes;
  if (pays_to_permute(a.rows(), a.cols(), a.nnz(), columns, dtype, permutes)) {
    return "block_permute";
  }
  return pays_to_pack(a.rows(), a.cols(), a.nnz(), columns) ? "packed_sweep" : "row_sweep";
}

std::unique_ptr<Plan> make_one_way(std::shared_ptr<const CsrStructure> structure,
                                   const void* values, DType dtype, const PlanOptions& options,
                                   int threads) {
  const std::string_view kernel =
      options.kernel.empty() ? suitable(*structure, dtype, options.columns) : options.kernel;
  if (kernel == "block_permute") {
    return make_block_permute_plan(structure, values, dtype, threads);
  }
  if (kernel == "packed_sweep") {
    return make_packed_plan(structure, values, dtype, threads);
  }
  if (kernel == "row_sweep" || kernel == "blocked_sweep") {
    return make_csr_plan(std::move(structure), values, dtype, kernel == "blocked_sweep", threads);
  }
  throw std::invalid_argument("prepare: kernel is '" + std::string(kernel) +
                              "', expected 'block_permute', 'packed_sweep', 'blocked_sweep' or "
                              "'row_sweep'");
}

}  // namespace

std::unique_ptr<Plan> make_plan(std::shared_ptr<const CsrStructure> structure, const void* values,
                                DType dtype, const PlanOptions& options, int threads) {
  std::unique_ptr<Plan> forward = make_one_way(structure, values, dtype, options, threads);
  if (!options.backward) return forward;
  TransposedCsr other = transpose(structure->view(values, dtype), threads);
  return make_two_way_plan(
      std::move(forward),
      make_one_way(std::move(other.structure), other.values.data(), dtype, options, threads));
}

}  // namespace sparsecore
