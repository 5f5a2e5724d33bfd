// The product of a 2:4 matrix from the canonical layout (row_products.h): an entry is a slot, its
// column two bits of metadata, of which a lane reads the byte. Both slots of a group multiply, as
// IEEE says, also where they hold zeros; those past the last column, at a row's end, do not.
// Bytes: b + 1 / 4 an entry, and one vector of X.
#include "row_products.h"
#include "spmm24.h"
#include "tiles24.h"

namespace sparsecore::cuda {
namespace {

struct Sparse24Rows {
  static constexpr const char* kName = "sparse24_matmul";
  static constexpr bool kMayBeShort = false;  // half of the columns
  Sparse24View view;

  __device__ __forceinline__ const std::uint8_t* metadata(std::int64_t row) const {
    return view.metadata + row * view.metadata_bytes_per_row();
  }
  // Slots are in the order of their columns: what lies past the last one ends the row.
  __device__ __forceinline__ Piece piece(const Pieces&, std::int64_t row) const {
    const std::int64_t slots = 2 * view.groups(), begin = row * slots;
    std::int64_t inside = slots;
    if (view.cols % 4 != 0) {
      while (inside > slots - 2 && sparse24_column(metadata(row), inside - 1) >= view.cols) {
        --inside;
      }
    }
    return {row, begin, begin + inside, true};
  }
  __device__ __forceinline__ std::int64_t column(const Piece& piece, std::int64_t entry) const {
    return sparse24_column(metadata(piece.row), entry - piece.begin);
  }
};

}  // namespace

const char* sparse24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                             const MatrixView& out, Memory& memory, Stream stream) {
  if (const char* const tiles = tiles24_name(a, x); tiles != nullptr) {
    tiles24_product(a, x, epilogue, out, memory, stream);
    return tiles;
  }
  Pieces rows;
  rows.count = a.rows;
  with_operand_type(x.dtype, [&](auto zero) {
    row_product<decltype(zero)>(Sparse24Rows{a}, rows, x, epilogue, out, memory, stream);
  });
  return "rows";
}

}  // namespace sparsecore::cuda
