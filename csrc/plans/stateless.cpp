#include "stateless.h"

#include "../choose.h"
#include "../transpose.h"
#include "packed.h"
#include "row_scatter.h"
#include "row_sweep.h"

namespace sparsecore {

void csr_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                 const MatrixView& out, int threads) {
  if (pays_to_pack_once(a.rows, a.cols, a.nnz(), x.cols)) {
    packed_product(a, x, epilogue, out, threads);
  } else {
    row_sweep(a, x, epilogue, out, threads);
  }
}

void transposed_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                        const MatrixView& out, int threads) {
  if (pays_to_transpose(a.nnz(), x.cols)) {
    const TransposedCsr other = transpose(a, threads);
    csr_product(other.structure->view(other.values.data(), a.dtype), x, epilogue, out, threads);
  } else {
    row_scatter(a, x, epilogue, out, threads);
  }
}

}  // namespace sparsecore
