// Which plan suits a matrix, and the pair of them that suits both directions.
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../block_permute.h"
#include "../choose.h"
#include "../dispatch.h"
#include "../plan.h"
#include "../transpose.h"

namespace sparsecore {
namespace {

// Slots of sixteen rows side by side, the longest of them counted for all, over entries.
double padding_of_lanes(const CsrStructure& a) {
  constexpr std::int64_t kBlock = BlockPermuteStructure::kRows;
  std::int64_t slots = 0;
  std::vector<std::int64_t> lengths;
  for (std::int64_t first = 0; first < a.rows(); first += kBlock) {
    lengths.clear();
    for (std::int64_t r = first; r < std::min(first + kBlock, a.rows()); ++r) {
      lengths.push_back(a.offsets()[r + 1] - a.offsets()[r]);
    }
    std::sort(lengths.begin(), lengths.end(), std::greater<>());
    for (std::size_t i = 0; i < lengths.size(); i += kChunkRows) slots += kChunkRows * lengths[i];
  }
  return static_cast<double>(slots) / static_cast<double>(std::max<std::int64_t>(a.nnz(), 1));
}

std::string_view suitable(const CsrStructure& a, DType dtype, const PlanOptions& options) {
  const bool permutes = kernels<float>().permutes;
  constexpr double kMostPadding = 2;  // about the gain over a row sweep (docs/adr/0011)
  if (pays_to_permute(a.rows(), a.cols(), a.nnz(), options.columns, dtype, permutes) &&
      padding_of_lanes(a) <= kMostPadding) {
    return "block_permute";
  }
  return pays_to_pack(a.rows(), a.cols(), a.nnz(), options.columns, options.by_rows)
             ? "packed_sweep"
             : "row_sweep";
}

// Whether rows that were put side by side need the same columns at about the same time: where they
// do not, most of what is stored is padding, too.
bool is_slim(const Plan& plan) {
  constexpr std::int64_t kUsualBytes = 4;  // an entry, besides its value
  const std::int64_t usual = (item_size(plan.dtype()) + kUsualBytes) * plan.shape().nnz;
  return plan.nbytes() <= 2 * usual;
}

std::unique_ptr<Plan> make_one_way(std::shared_ptr<const CsrStructure> structure,
                                   const void* values, DType dtype, const PlanOptions& options,
                                   int threads) {
  const std::string_view kernel =
      options.kernel.empty() ? suitable(*structure, dtype, options) : options.kernel;
  if (kernel == "block_permute") {
    std::unique_ptr<Plan> plan = make_block_permute_plan(structure, values, dtype, threads);
    if (!options.kernel.empty() || is_slim(*plan)) return plan;
    return make_csr_plan(std::move(structure), values, dtype, threads);
  }
  if (kernel == "packed_sweep") {
    return make_packed_plan(structure, values, dtype, options.columns, threads);
  }
  if (kernel == "row_sweep") {
    return make_csr_plan(std::move(structure), values, dtype, threads);
  }
  throw std::invalid_argument("prepare: kernel is '" + std::string(kernel) +
                              "', expected 'block_permute', 'packed_sweep' or 'row_sweep'");
}

}  // namespace

std::unique_ptr<Plan> make_plan(const std::shared_ptr<const CsrStructure>& structure,
                                const void* values, DType dtype, const PlanOptions& options,
                                int threads) {
  std::unique_ptr<Plan> forward = make_one_way(structure, values, dtype, options, threads);
  if (!options.backward) return forward;
  TransposedCsr other = transpose(structure->view(values, dtype), threads);
  return make_two_way_plan(
      std::move(forward),
      make_one_way(std::move(other.structure), other.values.data(), dtype, options, threads));
}

}  // namespace sparsecore
