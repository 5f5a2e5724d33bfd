// What cuSPARSELt is asked to compute, as plain data, and whether it can: checked here, before any
// call of it, so that errors name arguments. Nothing here needs the library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cusparselt_api.h"

namespace sparsecore::cuda::cusparselt {

// A dtype by the name that torch gives it; nothing for those that the library has no product of.
std::optional<DataType> data_type(std::string_view name);
const char* type_name(DataType type);
std::int64_t type_bytes(DataType type);

// In device memory, strides in items.
struct Matrix {
  void* data = nullptr;
  DataType type = DataType::kFloat32;
  std::int64_t rows = 0, cols = 0, row_stride = 0, col_stride = 0;
};
struct Vector {
  const void* data = nullptr;  // nullptr: absent
  DataType type = DataType::kFloat32;
  std::int64_t size = 0, stride = 1;
};

// How the library is told a matrix lies in memory.
struct Layout {
  Order order;
  std::int64_t leading;  // items from one row, or column, to the next

  friend bool operator==(const Layout&, const Layout&) = default;
};

// Which of the library's kernels runs, and how; found by search().
struct Algorithm {
  int config_id = 0, split_k = 1, split_k_mode = 0, split_k_buffers = 0;

  friend bool operator==(const Algorithm&, const Algorithm&) = default;
};

enum class Ending { kNone, kRelu, kGelu };  // the activation, by the library's formulas

// S, compressed by the library into `data`, for one version of it and one device.
struct Compressed {
  const Api* api = nullptr;
  int device = 0;
  DataType type = DataType::kFloat16;
  std::int64_t rows = 0, cols = 0;
  const void* data = nullptr;
  std::int64_t bytes = 0;
};

// out = ending(scale[row] * (S @ x) + bias[row]), the rows being those of S.
struct Product {
  Matrix x, out;
  Vector scale, bias;
  Ending ending = Ending::kNone;
  std::optional<Algorithm> algorithm;  // absent: the library's choice
  std::string_view name;               // of the function, for messages
};

// All that a plan of the library depends on.
struct Problem {
  DataType type, out_type;
  std::int64_t rows, cols, inner;  // m, n, k
  Layout x, out;
  const void* bias;  // a part of the plan
  bool is_scaled;
  Ending ending;
  std::optional<Algorithm> algorithm;

  friend bool operator==(const Problem&, const Problem&) = default;
};

// What has to hold of a matrix that is compressed: std::invalid_argument where it does not, and
// std::overflow_error where int8 products might not fit the library's int32 sums.
void check_compressible(const Matrix& w);
// Of a product: std::invalid_argument.
void check_product(const Compressed& s, const Product& product);
// Of one that was checked and has a column: std::invalid_argument where the library cannot be told
// how its operands lie in memory.
Problem problem_of(const Compressed& s, const Product& product);

}  // namespace sparsecore::cuda::cusparselt
