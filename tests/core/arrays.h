// Operands of tests: in buffers that end with their last item, so that a memory checker sees the
// first byte read beyond it, and filled beforehand with bytes of ones, NaN in every floating dtype.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "formats.h"

namespace sparsecore::testing {

using Index = std::int64_t;
using Rng = std::mt19937;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// `size` bytes, `shift` bytes behind the beginning of a cache line.
class Bytes {
 public:
  Bytes(Index size, Index shift);
  std::byte* data() const { return memory_.get() + shift_; }
  Index size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  Index size_, shift_;
  std::unique_ptr<std::byte, Free> memory_;
};

// Numbers of a dtype; those of every dtype are doubles, too. `shift` is in items.
class Array {
 public:
  Array(DType dtype, Index size, Index shift = 0)
      : dtype_(dtype), bytes_(size * item_size(dtype), shift * item_size(dtype)) {}
  DType dtype() const { return dtype_; }
  Index size() const { return bytes_.size() / item_size(dtype_); }
  void* data() const { return bytes_.data(); }
  const Bytes& bytes() const { return bytes_; }
  double get(Index i) const;
  void set(Index i, double value);  // rounded
  VectorView view() const { return {data(), dtype_, size(), 1}; }

 private:
  DType dtype_;
  Bytes bytes_;
};

// Memory orders of a matrix: its rows or columns one after the other, without gaps or with; both
// strided; both backwards.
enum class Layout : std::uint8_t {
  kRows,
  kColumns,
  kRowsApart,
  kColumnsApart,
  kStrided,
  kReversed
};
constexpr int kLayouts = 6;

class Dense {
 public:
  Dense(DType dtype, Index rows, Index cols, Layout layout = Layout::kRows, Index shift = 0);
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  DType dtype() const { return items_.dtype(); }
  double get(Index row, Index col) const { return items_.get(place(row, col)); }
  void set(Index row, Index col, double value) { items_.set(place(row, col), value); }
  MatrixView view() const;
  std::vector<double> numbers() const;  // row by row
  // Whether all between the elements is as it was.
  bool gaps_are_untouched() const;
  // The elements' bytes, row by row.
  std::vector<std::byte> bits() const;

 private:
  Index place(Index row, Index col) const { return first_ + row * row_stride_ + col * col_stride_; }

  Index rows_, cols_, row_stride_, col_stride_, first_;
  Array items_;
};

// A number between -2 and 2, or any of int8, as the dtype holds it; never zero.
double random_number(Rng& rng, DType dtype);
Dense random_dense(Rng& rng, DType dtype, Index rows, Index cols, Layout layout = Layout::kRows,
                   Index shift = 0);
Array random_array(Rng& rng, DType dtype, Index size, double factor = 1, Index shift = 0);

// A sparse matrix as what it stands for.
struct Sparse {
  DType dtype = DType::kFloat32;
  Index rows = 0, cols = 0;
  std::vector<Index> offsets{0};
  std::vector<Index> columns;
  std::vector<double> values;

  Sparse(DType type, Index width) : dtype(type), cols(width) {}
  Index nnz() const { return static_cast<Index>(columns.size()); }
  void add_entry(Index column, double value);
  void end_row();
  bool holds(Index row, Index column) const;
  Sparse transposed() const;
  Dense dense(Layout layout = Layout::kRows, Index shift = 0) const;
  std::shared_ptr<const CsrStructure> structure() const;
  Array stored_values(Index shift = 0) const;
};
Sparse random_sparse(Rng& rng, DType dtype, Index rows, Index cols, double density);

// The same in arrays of its own, with indices of any width that holds them.
class CsrArrays {
 public:
  CsrArrays(const Sparse& a, int offset_width, int column_width, Index shift);
  CsrView view() const;

 private:
  const Sparse& a_;
  int offset_width_, column_width_;
  Bytes offsets_, columns_;
  Array values_;
};

// Indices of a width in a buffer of their own.
Bytes stored_indices(const std::vector<Index>& indices, int width, Index shift = 0);

}  // namespace sparsecore::testing
