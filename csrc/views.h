// Trivial, non-owning descriptions of arrays: what kernels are given.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace sparsecore {

// A dense matrix with arbitrary strides, counted in elements (negative and zero allowed).
struct MatrixView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 0;
};

// A dense vector; data == nullptr means "absent".
struct VectorView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t size = 0;
  std::int64_t stride = 1;
};

// Unsigned integers of 1, 2, 4 or 8 bytes.
struct IndexView {
  const void* data = nullptr;
  int width = 1;
  std::int64_t size = 0;

  SPARSECORE_INLINE std::int64_t operator[](std::int64_t i) const {
    switch (width) {
      case 1:
        return static_cast<const std::uint8_t*>(data)[i];
      case 2:
        return static_cast<const std::uint16_t*>(data)[i];
      case 4:
        return static_cast<const std::uint32_t*>(data)[i];
      default:
        return static_cast<std::int64_t>(static_cast<const std::uint64_t*>(data)[i]);
    }
  }
};

// CSR: row r holds entries offsets[r] ... offsets[r + 1] - 1, columns ascending and unique.
struct CsrView {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  IndexView offsets;
  IndexView columns;
  const void* values = nullptr;
  DType dtype = DType::kFloat32;

  SPARSECORE_INLINE std::int64_t nnz() const { return columns.size; }
};

// 2:4 in the canonical layout: values[rows][2 * groups], and one nibble a group of four columns,
// idx0 | idx1 << 2, low nibble = the earlier group, rows padded to whole bytes.
struct Sparse24View {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const std::uint8_t* metadata = nullptr;
  const void* values = nullptr;
  DType dtype = DType::kFloat32;

  SPARSECORE_INLINE std::int64_t groups() const { return (cols + 3) / 4; }
  SPARSECORE_INLINE std::int64_t metadata_bytes_per_row() const { return (cols + 7) / 8; }
  SPARSECORE_INLINE std::int64_t nnz() const { return rows * groups() * 2; }
};

// The column of a row's slot, two slots a group, given the row's metadata.
SPARSECORE_INLINE std::int64_t sparse24_column(const std::uint8_t* row_metadata,
                                               std::int64_t slot) {
  return slot / 2 * 4 + ((row_metadata[slot / 4] >> (2 * (slot % 4))) & 3);
}

}  // namespace sparsecore
