#include "formats.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sparsecore {
namespace {

std::string text(std::int64_t value) { return std::to_string(value); }

std::vector<std::int64_t> widened(const IndexArray& array) {
  std::vector<std::int64_t> wide(static_cast<std::size_t>(array.size()));
  for (std::int64_t i = 0; i < array.size(); ++i) wide[static_cast<std::size_t>(i)] = array[i];
  return wide;
}

}  // namespace

IndexArray::IndexArray(std::int64_t size, int width)
    : bytes_(size * width), size_(size), width_(width) {}

IndexArray::IndexArray(const IndexView& view) : IndexArray(view.size, view.width) {
  if (size_ > 0) std::memcpy(data(), view.data, static_cast<std::size_t>(nbytes()));
}

int IndexArray::width_for(std::uint64_t largest) {
  if (largest <= 0xffu) return 1;
  if (largest <= 0xffffu) return 2;
  if (largest <= 0xffffffffu) return 4;
  return 8;
}

void validate_shape(const char* what, std::int64_t rows, std::int64_t cols) {
  if (rows < 0 || cols < 0) {
    throw std::invalid_argument(std::string(what) + ": shape is (" + text(rows) + ", " +
                                text(cols) + "), expected no negative dimension");
  }
}

void validate_offsets(std::span<const std::int64_t> indptr, std::int64_t nnz, std::int64_t rows) {
  // Compared without forming rows + 1, which could overflow.
  if (indptr.empty() || std::ssize(indptr) - 1 != rows) {
    throw std::invalid_argument("CSR: indptr has " + text(std::ssize(indptr)) +
                                " entries, expected one more than the " + text(rows) + " rows");
  }
  if (indptr[0] != 0) {
    throw std::invalid_argument("CSR: indptr starts with " + text(indptr[0]) +
                                " at row 0, expected 0");
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto i = static_cast<std::size_t>(r);
    if (indptr[i + 1] < indptr[i]) {
      throw std::invalid_argument("CSR: indptr decreases at row " + text(r) + ": from " +
                                  text(indptr[i]) + " to " + text(indptr[i + 1]));
    }
  }
  if (indptr.back() != nnz) {
    throw std::invalid_argument("CSR: indptr ends with " + text(indptr.back()) + " after row " +
                                text(rows - 1) + ", expected the number of indices, " + text(nnz));
  }
}

void refuse_column(std::int64_t column, std::int64_t row, std::int64_t position,
                   std::int64_t cols) {
  throw std::out_of_range("CSR: column " + text(column) + " in row " + text(row) + " at position " +
                          text(position) + " is outside [0, " + text(cols) + ")");
}

CsrStructure::CsrStructure(std::int64_t rows, std::int64_t cols, IndexArray offsets,
                           IndexArray columns)
    : rows_(rows), cols_(cols), offsets_(std::move(offsets)), columns_(std::move(columns)) {}

CsrView CsrStructure::view(const void* values, DType dtype) const {
  return {rows_, cols_, offsets_.view(), columns_.view(), values, dtype};
}

void CsrStructure::check() const {
  validate_offsets(widened(offsets_), nnz(), rows_);
  for (std::int64_t r = 0; r < rows_; ++r) {
    std::int64_t before = -1;
    for (std::int64_t p = offsets_[r]; p < offsets_[r + 1]; ++p) {
      const std::int64_t column = checked_column(columns_[p], r, p, cols_);
      if (column <= before) {
        throw std::invalid_argument("CSR: columns of row " + text(r) +
                                    " are not ascending at position " + text(p));
      }
      before = column;
    }
  }
}

bool CsrStructure::operator==(const CsrStructure& other) const {
  const auto equal = [](const IndexArray& a, const IndexArray& b) {
    return a.size() == b.size() && a.width() == b.width() &&
           std::equal(a.data(), a.data() + a.nbytes(), b.data());
  };
  return rows_ == other.rows_ && cols_ == other.cols_ && equal(offsets_, other.offsets_) &&
         equal(columns_, other.columns_);
}

Sparse24Structure::Sparse24Structure(std::int64_t rows, std::int64_t cols,
                                     std::span<const std::uint8_t> metadata)
    : rows_(rows), cols_(cols) {
  validate_shape("Sparse24", rows, cols);
  const std::int64_t per_row = metadata_per_row();
  const std::int64_t size = std::ssize(metadata);
  // Compared by division: rows * per_row could overflow.
  if (per_row == 0 || rows == 0 ? size != 0 : size / per_row != rows || size % per_row != 0) {
    throw std::invalid_argument("Sparse24: metadata holds " + text(size) + " bytes, expected " +
                                text(rows) + " x " + text(per_row));
  }
  metadata_ = Pages<std::uint8_t>(size);
  std::copy(metadata.begin(), metadata.end(), metadata_.data());
  check();
}

Sparse24Structure::Sparse24Structure(std::int64_t rows, std::int64_t cols,
                                     Pages<std::uint8_t> metadata)
    : rows_(rows), cols_(cols), metadata_(std::move(metadata)) {}

std::span<const std::uint8_t> Sparse24Structure::metadata() const {
  return {metadata_.data(), static_cast<std::size_t>(rows_ * metadata_per_row())};
}

Sparse24View Sparse24Structure::view(const void* values, DType dtype) const {
  return {rows_, cols_, metadata_.data(), values, dtype};
}

void Sparse24Structure::check() const {
  const std::int64_t per_row = metadata_per_row();
  for (std::int64_t i = 0; i < rows_ * per_row; ++i) {
    for (int half = 0; half < 2; ++half) {
      const int nibble = (metadata_[i] >> (4 * half)) & 15;
      if ((nibble & 3) >= (nibble >> 2)) {
        throw std::invalid_argument("Sparse24: metadata of row " + text(i / per_row) + ", group " +
                                    text(i % per_row * 2 + half) + " holds the positions " +
                                    text(nibble & 3) + " and " + text(nibble >> 2) +
                                    ", expected two ascending ones");
      }
    }
  }
}

bool Sparse24Structure::operator==(const Sparse24Structure& other) const {
  const auto mine = metadata(), theirs = other.metadata();
  return rows_ == other.rows_ && cols_ == other.cols_ &&
         std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end());
}

}  // namespace sparsecore
