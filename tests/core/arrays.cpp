#include "arrays.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

namespace sparsecore::testing {
namespace {

constexpr std::byte kUntouched{0xff};

template <class T>
T read(const void* data, Index i) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(data) + i * Index{sizeof(T)}, sizeof(T));
  return value;
}

template <class T>
void write(void* data, Index i, T value) {
  std::memcpy(static_cast<std::byte*>(data) + i * Index{sizeof(T)}, &value, sizeof(T));
}

}  // namespace

// posix_memalign and not operator new, which may round a size up to the alignment.
Bytes::Bytes(Index size, Index shift) : size_(size), shift_(shift) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, at(size + shift)) != 0) throw std::bad_alloc();
  memory_.reset(static_cast<std::byte*>(memory));
  std::fill_n(memory_.get(), size + shift, kUntouched);
}

void Bytes::Free::operator()(std::byte* p) const { std::free(p); }

double Array::get(Index i) const {
  switch (dtype_) {
    case DType::kFloat64:
      return read<double>(data(), i);
    case DType::kFloat32:
      return read<float>(data(), i);
    case DType::kFloat16:
      return to_float(read<Half>(data(), i));
    case DType::kBFloat16:
      return to_float(read<BFloat16>(data(), i));
    case DType::kInt8:
      return read<std::int8_t>(data(), i);
    case DType::kInt32:
      return read<std::int32_t>(data(), i);
    case DType::kFloat8E4M3:
      return to_float(read<Float8E4M3>(data(), i));
    case DType::kFloat8E5M2:
      return to_float(read<Float8E5M2>(data(), i));
  }
  return 0;
}

void Array::set(Index i, double value) {
  switch (dtype_) {
    case DType::kFloat64:
      return write(data(), i, value);
    case DType::kFloat32:
      return write(data(), i, static_cast<float>(value));
    case DType::kFloat16:
      return write(data(), i, to_half(static_cast<float>(value)));
    case DType::kBFloat16:
      return write(data(), i, to_bfloat16(static_cast<float>(value)));
    case DType::kInt8:
      return write(data(), i, static_cast<std::int8_t>(value));
    case DType::kInt32:
      return write(data(), i, static_cast<std::int32_t>(value));
    case DType::kFloat8E4M3:
    case DType::kFloat8E5M2:  // no core of ours rounds to them
      throw std::logic_error("items of 8-bit floating types are not made");
  }
}

Dense::Dense(DType dtype, Index rows, Index cols, Layout layout, Index shift)
    : rows_(rows), cols_(cols), row_stride_(cols), col_stride_(1), first_(0), items_(dtype, 0) {
  if (layout == Layout::kRowsApart) row_stride_ = cols + 3;
  if (layout == Layout::kColumns || layout == Layout::kColumnsApart) {
    row_stride_ = 1;
    col_stride_ = layout == Layout::kColumns ? rows : rows + 5;
  }
  if (layout == Layout::kStrided) {
    col_stride_ = 3;
    row_stride_ = 3 * cols + 1;
  }
  const bool is_empty = rows == 0 || cols == 0;
  const Index last = is_empty ? -1 : (rows - 1) * row_stride_ + (cols - 1) * col_stride_;
  items_ = Array(dtype, last + 1, shift);
  if (layout == Layout::kReversed) {
    first_ = std::max<Index>(last, 0);
    row_stride_ = -row_stride_;
    col_stride_ = -1;
  }
}

MatrixView Dense::view() const {
  auto* const data = static_cast<std::byte*>(items_.data()) + first_ * item_size(dtype());
  return {data, dtype(), rows_, cols_, row_stride_, col_stride_};
}

std::vector<double> Dense::numbers() const {
  std::vector<double> numbers;
  numbers.reserve(at(rows_ * cols_));
  for (Index r = 0; r < rows_; ++r) {
    for (Index c = 0; c < cols_; ++c) numbers.push_back(get(r, c));
  }
  return numbers;
}

bool Dense::gaps_are_untouched() const {
  std::vector<bool> is_element(at(items_.size()));
  for (Index r = 0; r < rows_; ++r) {
    for (Index c = 0; c < cols_; ++c) is_element[at(place(r, c))] = true;
  }
  const auto* const bytes = items_.bytes().data();
  for (Index b = 0; b < items_.bytes().size(); ++b) {
    if (!is_element[at(b / item_size(dtype()))] && bytes[b] != kUntouched) return false;
  }
  return true;
}

std::vector<std::byte> Dense::bits() const {
  std::vector<std::byte> bits;
  const Index size = item_size(dtype());
  for (Index r = 0; r < rows_; ++r) {
    for (Index c = 0; c < cols_; ++c) {
      const std::byte* const item = items_.bytes().data() + place(r, c) * size;
      bits.insert(bits.end(), item, item + size);
    }
  }
  return bits;
}

double random_number(Rng& rng, DType dtype) {
  if (dtype == DType::kInt8) {
    const int drawn = static_cast<int>(rng() % 256) - 128;
    return drawn == 0 ? 1 : drawn;
  }
  Array one(dtype, 1);
  one.set(0, static_cast<double>(rng()) * 0x1p-30 - 2);
  return one.get(0) == 0 ? 1 : one.get(0);
}

Dense random_dense(Rng& rng, DType dtype, Index rows, Index cols, Layout layout, Index shift) {
  Dense m(dtype, rows, cols, layout, shift);
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < cols; ++c) m.set(r, c, random_number(rng, dtype));
  }
  return m;
}

Array random_array(Rng& rng, DType dtype, Index size, double factor, Index shift) {
  Array array(dtype, size, shift);
  for (Index i = 0; i < size; ++i) array.set(i, random_number(rng, dtype) * factor);
  return array;
}

void Sparse::add_entry(Index column, double value) {
  columns.push_back(column);
  values.push_back(value);
}

void Sparse::end_row() {
  offsets.push_back(nnz());
  ++rows;
}

bool Sparse::holds(Index row, Index column) const {
  return std::binary_search(columns.begin() + offsets[at(row)],
                            columns.begin() + offsets[at(row + 1)], column);
}

Sparse Sparse::transposed() const {
  Sparse result(dtype, rows);
  std::vector<std::vector<std::pair<Index, double>>> lines(at(cols));
  for (Index r = 0; r < rows; ++r) {
    for (Index p = offsets[at(r)]; p < offsets[at(r + 1)]; ++p) {
      lines[at(columns[at(p)])].emplace_back(r, values[at(p)]);
    }
  }
  for (const auto& line : lines) {
    for (const auto& [column, value] : line) result.add_entry(column, value);
    result.end_row();
  }
  return result;
}

Dense Sparse::dense(Layout layout, Index shift) const {
  Dense m(dtype, rows, cols, layout, shift);
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < cols; ++c) m.set(r, c, 0);
    for (Index p = offsets[at(r)]; p < offsets[at(r + 1)]; ++p) {
      m.set(r, columns[at(p)], values[at(p)]);
    }
  }
  return m;
}

std::shared_ptr<const CsrStructure> Sparse::structure() const {
  return std::make_shared<const CsrStructure>(
      rows, cols, compact_offsets(offsets),
      compact(std::span<const Index>(columns), column_width(cols)));
}

Array Sparse::stored_values(Index shift) const {
  Array array(dtype, nnz(), shift);
  for (Index p = 0; p < nnz(); ++p) array.set(p, values[at(p)]);
  return array;
}

Sparse random_sparse(Rng& rng, DType dtype, Index rows, Index cols, double density) {
  Sparse a(dtype, cols);
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < cols; ++c) {
      if (static_cast<double>(rng()) * 0x1p-32 < density) a.add_entry(c, random_number(rng, dtype));
    }
    a.end_row();
  }
  return a;
}

Bytes stored_indices(const std::vector<Index>& indices, int width, Index shift) {
  Bytes bytes(std::ssize(indices) * width, shift * width);
  with_item_size(width, [&]<class I>(I) {
    for (Index i = 0; i < std::ssize(indices); ++i) {
      write(bytes.data(), i, static_cast<I>(indices[at(i)]));
    }
  });
  return bytes;
}

CsrArrays::CsrArrays(const Sparse& a, int offset_width, int column_width, Index shift)
    : a_(a),
      offset_width_(offset_width),
      column_width_(column_width),
      offsets_(stored_indices(a.offsets, offset_width, shift)),
      columns_(stored_indices(a.columns, column_width, shift)),
      values_(a.stored_values(shift)) {}

CsrView CsrArrays::view() const {
  return {a_.rows,
          a_.cols,
          {offsets_.data(), offset_width_, a_.rows + 1},
          {columns_.data(), column_width_, a_.nnz()},
          values_.data(),
          a_.dtype};
}

}  // namespace sparsecore::testing
