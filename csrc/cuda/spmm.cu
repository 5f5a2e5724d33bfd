// The product of a CSR matrix (row_products.h).
#include "row_products.h"
#include "spmm.h"

namespace sparsecore::cuda {
namespace {

struct CsrRows {
  static constexpr const char* kName = "csr_matmul";
  static constexpr bool kMayBeShort = true;
  CsrView view;

  __device__ __forceinline__ Piece piece(const Pieces& pieces, std::int64_t i) const {
    return piece_at(pieces, view.offsets, i);
  }
  __device__ __forceinline__ std::int64_t column(const Piece&, std::int64_t entry) const {
    return view.columns[entry];
  }
};

}  // namespace

void csr_product(const CsrView& a, const Pieces& pieces, const MatrixView& x,
                 const Epilogue& epilogue, const MatrixView& out, Memory& memory, Stream stream) {
  with_operand_type(x.dtype, [&](auto zero) {
    row_product<decltype(zero)>(CsrRows{a}, pieces, x, epilogue, out, memory, stream);
  });
}

}  // namespace sparsecore::cuda
