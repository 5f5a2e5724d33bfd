// The product of a CSR matrix and a few columns on the device, by equal shares of work.
#pragma once

#include "../epilogue.h"
#include "memory.h"

namespace sparsecore::cuda {

constexpr std::int64_t kMostMergeColumns = 8;

// out = epilogue(a @ x) as csr_product (spmm.h), x of kMostMergeColumns columns at most.
void merge_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                   const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
