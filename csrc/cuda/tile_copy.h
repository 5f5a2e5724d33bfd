// Dense matrices between memory orders, by tiles through shared memory.
#pragma once

#include "../views.h"
#include "memory.h"

namespace sparsecore::cuda {

constexpr int kTile = 32, kTileRows = 8;  // a block's threads: kTile across, kTileRows down

// A row-major copy in memory of `memory`, read and written in whole sectors where `m` is
// column-major. Rows are padded to 16 bytes.
MatrixView row_major_copy(const MatrixView& m, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
