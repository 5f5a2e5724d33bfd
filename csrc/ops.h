// The public operations on views: do the arguments agree, then choose and run.
#pragma once

#include <memory>
#include <stdexcept>
#include <string_view>

#include "epilogue.h"
#include "formats.h"
#include "plan.h"

namespace sparsecore {

// Dtypes that do not go together: a TypeError in Python.
struct TypeMismatch : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// What every product is told besides its matrix. `name` starts error messages.
struct Product {
  MatrixView x;
  Epilogue epilogue;
  MatrixView out;
  bool transposed = false;
  int threads = 1;
  std::string_view name;
};

// Whether a product with a matrix of this shape and dtype is so short that no other thread is worth
// asking, nor letting in meanwhile: it lasts about as long as that takes, a few microseconds.
bool is_brief(const Product& product, const PlanShape& shape, DType dtype);

// The dtype of values @ x; throws TypeMismatch where the mix is not allowed.
DType product_dtype(std::string_view name, DType values, DType x, bool has_scale);

// Whether `v`, where there is one, has an entry for each of `rows` output features and goes with a
// result of this dtype; else throws, naming the function and `what` it is.
void check_vector(std::string_view name, const char* what, const VectorView& v, std::int64_t rows,
                  DType result);

// Whether the arguments agree; on which device their memory is makes no difference.
void check_csr_matmul(const CsrView& a, const Product& product);
void csr_matmul(const CsrView& a, const Product& product);
void plan_matmul(const Plan& plan, const Product& product);
void check_sparse24_matmul(const Sparse24View& a, const Product& product);
void sparse24_matmul(const Sparse24View& a, const Product& product);

// d holds a.nnz() items of sddmm_dtype(u, v).
DType sddmm_dtype(DType u, DType v);
void check_csr_sddmm(const CsrView& a, const MatrixView& u, const MatrixView& v);
void csr_sddmm(const CsrView& a, const MatrixView& u, const MatrixView& v, void* d, int threads);

}  // namespace sparsecore
