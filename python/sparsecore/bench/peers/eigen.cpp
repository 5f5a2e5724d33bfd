// Eigen's product of a row-major sparse matrix, as a library of the kind shared_library.py
// describes. Compiled where Eigen's headers are found, for this processor.
#include <Eigen/SparseCore>
#include <cstdint>

namespace {

using Sparse = Eigen::Map<const Eigen::SparseMatrix<float, Eigen::RowMajor, std::int32_t>>;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Columns = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;

template <typename Dense>
void multiply(const Sparse& A, std::int64_t n, const float* X, float* Y) {
  Eigen::Map<Dense>(Y, A.rows(), n).noalias() = A * Eigen::Map<const Dense>(X, A.cols(), n);
}

}  // namespace

extern "C" {

void* spmm_create(std::int64_t rows, std::int64_t cols, const std::int32_t* indptr,
                  const std::int32_t* indices, const float* values) {
  return new Sparse(rows, cols, indptr[rows], indptr, indices, values);
}

int spmm_run(void* handle, std::int64_t n, const float* X, float* Y) {
  const auto& A = *static_cast<Sparse*>(handle);
  if (n == 1) {
    multiply<Eigen::VectorXf>(A, n, X, Y);
  } else {
    multiply<Rows>(A, n, X, Y);
  }
  return 0;
}

int spmm_run_columns(void* handle, std::int64_t n, const float* X, float* Y) {
  multiply<Columns>(*static_cast<Sparse*>(handle), n, X, Y);
  return 0;
}

void spmm_destroy(void* handle) { delete static_cast<Sparse*>(handle); }

}  // extern "C"
