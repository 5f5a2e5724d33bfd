// fp32 products on tensor cores, by name only: their operands are rounded to ten bits of mantissa.
#pragma once

#include "../epilogue.h"
#include "memory.h"

namespace sparsecore::cuda {

// How often each pair of operands is multiplied: once, or as sums of two tf32 numbers each, three
// products of which are taken; what is left out is 2^-22 of the product.
enum class Tf32 { kOnce, kThreeTimes };

// out = epilogue(a @ x), all fp32.
void tf32_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                  const MatrixView& out, Tf32 how, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
