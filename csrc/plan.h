// The central noun: a matrix made ready to be multiplied.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "epilogue.h"
#include "formats.h"

namespace sparsecore {

struct PlanShape {
  std::int64_t rows, cols, nnz;
};

class Plan {
 public:
  virtual ~Plan() = default;

  // out = epilogue(A @ x), or with A transposed. The arguments agree already (see ops.h).
  virtual void run(const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
                   bool transposed, int threads) const = 0;

  // Replaces the values: shape().nnz items of dtype(). Products already running keep the
  // values they started with; where it throws, the old ones stay.
  void update(const void* values, int threads) { made_from(values, threads)(); }
  // The first half of an update, which may throw; and the second, which puts in place what was
  // made.
  using PutInPlace = std::function<void()>;
  virtual PutInPlace made_from(const void* values, int threads) const = 0;

  // Copies the current values out, in CSR order.
  virtual void unpack(void* values, int threads) const = 0;

  virtual PlanShape shape() const = 0;
  // The pattern: shared with whoever holds it, or made again.
  virtual std::shared_ptr<const CsrStructure> structure() const = 0;
  virtual DType dtype() const = 0;
  virtual std::int64_t nbytes() const = 0;  // without the structure, which others may hold, too
  virtual bool keeps_structure() const { return true; }
  virtual std::string_view kernel() const = 0;
};

inline PlanShape shape_of(const CsrStructure& a) { return {a.rows(), a.cols(), a.nnz()}; }

// What a plan is made for.
struct PlanOptions {
  std::int64_t columns = -1;  // right-hand columns expected; negative: unknown, many
  bool backward = false;      // transposed products, too
  std::string_view kernel;    // instead of the one that suits, where not empty
  bool by_rows = false;       // X and the result hold a right-hand column a row, as layers do
};

// std::invalid_argument for a kernel that does not exist.
std::unique_ptr<Plan> make_plan(const std::shared_ptr<const CsrStructure>& structure,
                                const void* values, DType dtype, const PlanOptions& options,
                                int threads);

// Its kinds. Packed (packed.h); for few columns (block_permute.h); CSR in its own order, with a
// snapshot of the values; and a pair.
std::unique_ptr<Plan> make_packed_plan(const std::shared_ptr<const CsrStructure>& structure,
                                       const void* values, DType dtype, std::int64_t columns,
                                       int threads);
std::unique_ptr<Plan> make_block_permute_plan(const std::shared_ptr<const CsrStructure>& structure,
                                              const void* values, DType dtype, int threads);
std::unique_ptr<Plan> make_csr_plan(std::shared_ptr<const CsrStructure> structure,
                                    const void* values, DType dtype, int threads);
std::unique_ptr<Plan> make_two_way_plan(std::unique_ptr<Plan> forward,
                                        std::unique_ptr<Plan> backward);

}  // namespace sparsecore
