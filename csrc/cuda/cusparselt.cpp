#include "cusparselt.h"

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

#include "sparse_groups.h"

namespace sparsecore::cuda::cusparselt {
namespace {

void* workspace_of(const Plan& plan, Memory& memory) {
  const std::int64_t bytes = plan.workspace_bytes();
  return bytes == 0 ? nullptr : memory.take(bytes);
}

// As cusparseLtMatmul and cusparseLtMatmulSearch are called.
template <class Call>
void run(const Call& call, const Context& context, Plan& plan, const Compressed& s,
         const Product& p, Memory& memory, Stream stream) {
  const float one = 1, zero = 0;
  const void* const alpha = p.scale.data == nullptr ? &one : p.scale.data;
  void* const workspace = workspace_of(plan, memory);
  call(&context.handle(), plan.get(), alpha, s.data, p.x.data, &zero, p.out.data, p.out.data,
       workspace, &stream, 1);
}

// A copy in rows without gaps and without -0.0, which the library takes for a number.
const void* checked_dense(const Matrix& w, Memory& memory, Stream stream) {
  const bool is_pairs = w.type == DataType::kFloat32;
  const SparseGroups groups{is_pairs ? 2 : 4, w.type != DataType::kInt8, type_bytes(w.type)};
  const StridedItems items{w.data, w.rows, w.cols, w.row_stride, w.col_stride};
  const DenseGroups dense = checked_groups(items, groups, memory, stream);
  if (dense.first_bad < 0) return dense.items;
  const std::int64_t per_row = w.cols / groups.size, group = dense.first_bad % per_row;
  throw std::invalid_argument(
      "compress: W: row " + std::to_string(dense.first_bad / per_row) + ", group " +
      std::to_string(group) + " (columns " + std::to_string(group * groups.size) + " to " +
      std::to_string((group + 1) * groups.size - 1) + ") has more than " +
      (is_pairs ? "one nonzero: it is not 1:2" : "two nonzeros: it is not 2:4"));
}

}  // namespace

Compressed compress(const Api& api, int device, const Matrix& w, Memory& memory, Stream stream) {
  check_compressible(w);
  const Context& with = context(api, device);
  const void* const dense = checked_dense(w, memory, stream);
  const auto descriptor = structured(api, with.handle(), w.type, w.rows, w.cols);
  std::size_t bytes = 0, scratch_bytes = 0;
  api.compressed_size(&with.handle(), descriptor.get(), &bytes, &scratch_bytes);
  Compressed made{&api, device, w.type, w.rows, w.cols, nullptr, static_cast<std::int64_t>(bytes)};
  void* const data = memory.take(made.bytes);
  void* const scratch =
      scratch_bytes == 0 ? nullptr : memory.take(static_cast<std::int64_t>(scratch_bytes));
  constexpr int kIsLeft = 1;
  api.compress(&with.handle(), descriptor.get(), kIsLeft, Operation::kNone, dense, data, scratch,
               stream);
  made.data = data;
  return made;
}

void multiply(const Compressed& s, const Product& product, Memory& memory, Stream stream) {
  check_product(s, product);
  if (product.x.cols == 0) return;
  const Problem problem = problem_of(s, product);
  Context& with = context(*s.api, s.device);
  run(s.api->matmul, with, with.plan(problem), s, product, memory, stream);
}

Algorithm search(const Compressed& s, const Product& product, Memory& memory, Stream stream) {
  check_product(s, product);
  const Problem problem = problem_of(s, product);
  const Context& with = context(*s.api, s.device);
  const auto plan = std::make_unique<Plan>(*s.api, with.handle(), problem);
  run(s.api->search, with, *plan, s, product, memory, stream);
  return plan->algorithm();
}

}  // namespace sparsecore::cuda::cusparselt
