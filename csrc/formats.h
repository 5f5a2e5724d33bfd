// The structures that own validated indices. Constructed is valid: nothing later checks again, and
// nothing later can change them, so no kernel can be led outside its arrays.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "pages.h"
#include "views.h"

namespace sparsecore {

// Owned unsigned integers, each 1, 2, 4 or 8 bytes wide.
class IndexArray {
 public:
  IndexArray() = default;
  IndexArray(std::int64_t size, int width);
  explicit IndexArray(const IndexView& view);  // a copy

  void shrink(std::int64_t size) {
    bytes_.shrink(size * width_);
    size_ = size;
  }

  // The smallest width that holds 0 ... largest.
  static int width_for(std::uint64_t largest);

  int width() const { return width_; }
  std::int64_t size() const { return size_; }
  std::int64_t nbytes() const { return size_ * width_; }
  IndexArray copy() const { return IndexArray(view()); }
  IndexView view() const { return {bytes_.data(), width_, size_}; }
  std::int64_t operator[](std::int64_t i) const { return view()[i]; }
  const std::byte* data() const { return bytes_.data(); }
  std::byte* data() { return bytes_.data(); }

 private:
  Pages<std::byte> bytes_;
  std::int64_t size_ = 0;
  int width_ = 1;
};

// Calls body(pointer) with the indices as uint8_t, uint16_t, uint32_t or uint64_t: for loops that
// should not ask for the width at every element.
template <class Body>
decltype(auto) with_indices(const IndexView& view, Body&& body) {
  return with_item_size(view.width, [&]<class I>(I) -> decltype(auto) {
    return body(static_cast<const I*>(view.data));
  });
}
template <class Body>
decltype(auto) with_indices(const IndexArray& array, Body&& body) {
  return with_indices(array.view(), body);
}
template <class Body>
decltype(auto) with_indices(IndexArray& array, Body&& body) {
  return with_item_size(array.width(), [&]<class I>(I) -> decltype(auto) {
    return body(reinterpret_cast<I*>(array.data()));
  });
}

// The width of columns 0 ... cols - 1.
inline int column_width(std::int64_t cols) {
  return IndexArray::width_for(cols > 0 ? static_cast<std::uint64_t>(cols) - 1 : 0);
}

template <class Source>
IndexArray compact(std::span<const Source> source, int width) {
  IndexArray array(std::ssize(source), width);
  with_indices(array, [&]<class I>(I* out) {
    std::transform(source.begin(), source.end(), out, [](Source v) { return static_cast<I>(v); });
  });
  return array;
}

// Row offsets in the width of their last, the largest.
inline IndexArray compact_offsets(std::span<const std::int64_t> offsets) {
  return compact(offsets, IndexArray::width_for(static_cast<std::uint64_t>(offsets.back())));
}

// The pattern of a CSR matrix. Columns take the smallest width that holds cols - 1, row offsets the
// smallest that holds the number of entries.
class CsrStructure {
 public:
  // Takes ownership; the arrays must be valid (see check()).
  CsrStructure(std::int64_t rows, std::int64_t cols, IndexArray offsets, IndexArray columns);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t nnz() const { return columns_.size(); }
  const IndexArray& offsets() const { return offsets_; }
  const IndexArray& columns() const { return columns_; }
  std::int64_t nbytes() const { return offsets_.nbytes() + columns_.nbytes(); }

  CsrView view(const void* values, DType dtype) const;

  // Re-validates everything, as a guard against memory corruption.
  void check() const;
  bool operator==(const CsrStructure& other) const;

 private:
  std::int64_t rows_, cols_;
  IndexArray offsets_, columns_;
};

// The column positions of a 2:4 matrix in the canonical layout (see Sparse24View).
class Sparse24Structure {
 public:
  // Copies and validates: every nibble must hold idx0 < idx1.
  Sparse24Structure(std::int64_t rows, std::int64_t cols, std::span<const std::uint8_t> metadata);
  // Takes ownership; the metadata must be valid.
  Sparse24Structure(std::int64_t rows, std::int64_t cols, Pages<std::uint8_t> metadata);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t values_per_row() const { return (cols_ + 3) / 4 * 2; }
  std::int64_t metadata_per_row() const { return (cols_ + 7) / 8; }
  std::span<const std::uint8_t> metadata() const;

  Sparse24View view(const void* values, DType dtype) const;
  void check() const;
  bool operator==(const Sparse24Structure& other) const;

 private:
  std::int64_t rows_, cols_;
  Pages<std::uint8_t> metadata_;
};

// Throws std::invalid_argument if indptr does not describe nnz entries in `rows` rows, naming the
// row.
void validate_offsets(std::span<const std::int64_t> indptr, std::int64_t nnz, std::int64_t rows);
// Throws std::out_of_range, naming row and position.
[[noreturn]] void refuse_column(std::int64_t column, std::int64_t row, std::int64_t position,
                                std::int64_t cols);
// Returns `column` if it is in [0, cols).
inline std::int64_t checked_column(std::int64_t column, std::int64_t row, std::int64_t position,
                                   std::int64_t cols) {
  if (column < 0 || column >= cols) refuse_column(column, row, position, cols);
  return column;
}
void validate_shape(const char* what, std::int64_t rows, std::int64_t cols);

}  // namespace sparsecore
