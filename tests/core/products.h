// The ways in which a CSR matrix is multiplied, and checks of a product that hold for all of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oracle.h"
#include "plan.h"

namespace sparsecore::testing {

// Dtypes of values and of X that meet, and whether the rows need factors.
struct Mix {
  DType values, x;
  bool is_scaled = false;
};
inline constexpr Mix kMixes[] = {
    {DType::kFloat64, DType::kFloat64},     {DType::kFloat32, DType::kFloat32},
    {DType::kFloat16, DType::kFloat16},     {DType::kBFloat16, DType::kBFloat16},
    {DType::kInt8, DType::kInt8},           {DType::kFloat16, DType::kFloat32},
    {DType::kBFloat16, DType::kFloat32},    {DType::kInt8, DType::kFloat64, true},
    {DType::kInt8, DType::kFloat32, true},  {DType::kInt8, DType::kFloat16, true},
    {DType::kInt8, DType::kBFloat16, true},
};
inline constexpr DType kDTypes[] = {DType::kFloat64, DType::kFloat32, DType::kFloat16,
                                    DType::kBFloat16, DType::kInt8};

enum class Storage : std::uint8_t { kAsIs, kPlan, kTwoWayPlan };
struct Way {
  std::string_view name;
  Storage storage = Storage::kAsIs;
  std::string_view kernel = {};  // of the plan; empty: the one that suits the number of columns
  bool knows_columns = false;    // the plan is told that number
  bool is_transposed = false;    // the transpose is stored, and the product told so
};
inline constexpr Way kWays[] = {
    {"stateless"},
    {"stateless, transposed", Storage::kAsIs, "", false, true},
    {"row sweep", Storage::kPlan, "row_sweep"},
    {"row sweep, transposed", Storage::kPlan, "row_sweep", false, true},
    {"packed sweep", Storage::kPlan, "packed_sweep"},
    {"packed sweep for so many columns", Storage::kPlan, "packed_sweep", true},
    {"packed sweep, transposed", Storage::kPlan, "packed_sweep", false, true},
    {"block permute", Storage::kPlan, "block_permute"},
    {"block permute, transposed", Storage::kPlan, "block_permute", false, true},
    {"what suits", Storage::kPlan, "", true},
    {"two ways", Storage::kTwoWayPlan, "packed_sweep", true, true},
};

// A product of a matrix in one of these ways. `shift`, in items, is how far every operand lies from
// the beginning of a cache line.
class Multiplier {
 public:
  Multiplier(const Way& way, const Sparse& a, Index columns, Index shift = 0, int threads = 1);
  void run(const Dense& x, const EpilogueParts& epilogue, const Dense& y, int threads = 1) const;
  const Plan* plan() const { return plan_.get(); }

 private:
  bool is_transposed_;
  Sparse stored_;
  CsrArrays arrays_;
  std::unique_ptr<Plan> plan_;
};

// Memory orders and addresses that a case number picks.
Layout layout_of(Index number);
Index shift_of(Index number);

// A random matrix's product in each way with n columns is right; `number` picks the rest.
void check_every_way(const Sparse& a, const Mix& mix, Index n, Index number);

}  // namespace sparsecore::testing
