// The central noun: a matrix made ready to be multiplied.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "epilogue.h"
#include "formats.h"

namespace sparsecore {

class Plan {
 public:
  virtual ~Plan() = default;

  // out = epilogue(A @ x), or with A transposed. The arguments agree already (see ops.h).
  virtual void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
                   bool transposed, int threads) const = 0;

  // Replaces the values: structure().nnz() items of dtype(). Products already running keep the
  // values they started with.
  virtual void update(const void* values) = 0;

  // Copies the current values out, in CSR order.
  virtual void unpack(void* values) const = 0;

  virtual const std::shared_ptr<const CsrStructure>& structure() const = 0;
  virtual DType dtype() const = 0;
  virtual std::int64_t nbytes() const = 0;  // owned by the plan, the shared structure left out
  virtual std::string_view kernel() const = 0;
};

// The plan that suits products with `columns` right-hand columns (negative: unknown, many); or the
// one of that kernel, where one is named. std::invalid_argument for a kernel that does not exist.
std::unique_ptr<Plan> make_plan(std::shared_ptr<const CsrStructure> structure, const void* values,
                                DType dtype, std::int64_t columns, std::string_view kernel,
                                int threads);

// Its kinds. Packed (plans/packed.h); for few columns (block_permute.h); and CSR as it is, with a
// snapshot of the values.
std::unique_ptr<Plan> make_packed_plan(std::shared_ptr<const CsrStructure> structure,
                                       const void* values, DType dtype, int threads);
std::unique_ptr<Plan> make_block_permute_plan(const std::shared_ptr<const CsrStructure>& structure,
                                              const void* values, DType dtype, int threads);
std::unique_ptr<Plan> make_row_sweep_plan(std::shared_ptr<const CsrStructure> structure,
                                          const void* values, DType dtype);

}  // namespace sparsecore
