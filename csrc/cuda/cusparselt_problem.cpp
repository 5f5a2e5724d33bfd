#include "cusparselt_problem.h"

#include <algorithm>
#include <initializer_list>
#include <stdexcept>

#include "../ops.h"

namespace sparsecore::cuda::cusparselt {
namespace {

struct TypeRow {
  DataType type;
  const char* name;
  std::int64_t bytes;
};
constexpr TypeRow kTypes[] = {
    {DataType::kFloat32, "float32", 4},   {DataType::kFloat16, "float16", 2},
    {DataType::kInt8, "int8", 1},         {DataType::kInt32, "int32", 4},
    {DataType::kBFloat16, "bfloat16", 2}, {DataType::kFloat8E4M3, "float8_e4m3fn", 1}};

const TypeRow& row_of(DataType type) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes) - 1,
                       [&](const TypeRow& row) { return row.type == type; });
}

constexpr std::int64_t kAlignment = 16;  // of every address, in bytes
// A sum of so many products of two int8 numbers fits int32.
constexpr std::int64_t kMostInt8Products = 131071;

template <class Error = std::invalid_argument, class... Parts>
[[noreturn]] void fail(std::string_view name, const Parts&... parts) {
  std::string text(name);
  text += ": ";
  (text.append(parts), ...);
  throw Error(text);
}

std::string number(std::int64_t value) { return std::to_string(value); }

bool among(DataType type, std::initializer_list<DataType> types) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

void require_multiple(std::string_view name, const char* what, std::int64_t count,
                      const char* of_what, std::int64_t factor, DataType type) {
  if (count > 0 && count % factor == 0) return;
  fail(name, what, " has ", number(count), " ", of_what, ", expected a multiple of ",
       number(factor), " for ", type_name(type));
}

void require_aligned(std::string_view name, const char* what, const void* data) {
  if (reinterpret_cast<std::uintptr_t>(data) % kAlignment == 0) return;
  fail(name, what, " does not begin at a multiple of ", number(kAlignment), " bytes in memory");
}

Layout layout_of(std::string_view name, const char* what, const Matrix& m) {
  const std::int64_t factor = kAlignment / type_bytes(m.type);
  const bool is_by_rows = m.col_stride == 1 && m.row_stride >= m.cols;
  const bool is_by_columns = m.row_stride == 1 && m.col_stride >= m.rows;
  if (!is_by_rows && !is_by_columns) {
    fail(name, what, " has strides (", number(m.row_stride), ", ", number(m.col_stride),
         "), expected rows or columns that are contiguous and apart from each other");
  }
  const std::int64_t leading = is_by_rows ? m.row_stride : m.col_stride;
  if (leading % factor != 0) {
    fail(name, what, " has ", number(leading), " items from one ", is_by_rows ? "row" : "column",
         " to the next, expected a multiple of ", number(factor), " for ", type_name(m.type));
  }
  require_aligned(name, what, m.data);
  return {is_by_rows ? Order::kRows : Order::kColumns, leading};
}

void require_types(DataType type, const Product& p) {
  if (p.x.type != type) {
    fail<TypeMismatch>(p.name, "X is ", type_name(p.x.type), ", S is ", type_name(type),
                       "; expected the same");
  }
  const bool fits =
      type == DataType::kInt8 ? among(p.out.type, {DataType::kInt32, DataType::kInt8,
                                                   DataType::kFloat16, DataType::kBFloat16})
      : type == DataType::kFloat8E4M3
          ? among(p.out.type, {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32})
          : p.out.type == type;
  if (!fits) {
    fail<TypeMismatch>(p.name, "cuSPARSELt has no product of ", type_name(type), " that gives ",
                       type_name(p.out.type));
  }
}

void require_shapes(const Compressed& s, const Product& p) {
  if (p.x.rows != s.cols) {
    fail(p.name, "X has ", number(p.x.rows), " rows, S has ", number(s.cols), " columns");
  }
  if (p.out.rows != s.rows || p.out.cols != p.x.cols) {
    fail(p.name, "out has shape (", number(p.out.rows), ", ", number(p.out.cols), "), expected (",
         number(s.rows), ", ", number(p.x.cols), ")");
  }
}

void require_vector(const Product& p, const char* what, const Vector& v, std::int64_t size,
                    DataType type) {
  if (v.data == nullptr) return;
  if (v.size != size || (v.size > 1 && v.stride != 1)) {
    fail(p.name, what, " has shape (", number(v.size), ",), expected ", number(size),
         " contiguous items");
  }
  if (v.type != type) {
    fail<TypeMismatch>(p.name, what, " is ", type_name(v.type), ", expected ", type_name(type));
  }
  require_aligned(p.name, what, v.data);
}

// What the library has on every device. Its kernels' names say which dtype they read a bias as:
// that of the result, but for int8 float32, int32 or the result's, by architecture, and not
// documented.
void require_epilogue(const Compressed& s, const Product& p) {
  const bool is_int8 = s.type == DataType::kInt8;
  if (p.scale.data != nullptr && (!is_int8 || p.out.type == DataType::kInt32)) {
    fail(p.name, "scale is for int8 with a result of float16, bfloat16 or int8, here ",
         type_name(s.type), " gives ", type_name(p.out.type));
  }
  if (p.bias.data != nullptr && is_int8) fail(p.name, "bias is not for int8: add it afterwards");
  const bool has_gelu = is_int8
                            ? p.out.type == DataType::kInt8
                            : s.type == DataType::kFloat8E4M3 && p.out.type == DataType::kBFloat16;
  if (p.ending == Ending::kGelu && !has_gelu) {
    fail(p.name, "activation gelu is for int8 that gives int8, and float8_e4m3fn that gives ",
         "bfloat16; here ", type_name(s.type), " gives ", type_name(p.out.type));
  }
  require_vector(p, "scale", p.scale, s.rows, DataType::kFloat32);
  require_vector(p, "bias", p.bias, s.rows, p.out.type);
}

struct Bytes {
  std::uintptr_t begin, end;
};
Bytes bytes_of(const void* data, std::int64_t items, DataType type) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  return {begin, begin + static_cast<std::uintptr_t>(items * type_bytes(type))};
}
Bytes bytes_of(const Matrix& m) {
  const std::int64_t last = (m.rows - 1) * m.row_stride + (m.cols - 1) * m.col_stride;
  return bytes_of(m.data, last + 1, m.type);
}

void require_apart(const Product& p, const char* what, const Bytes& other) {
  const Bytes out = bytes_of(p.out);
  if (out.begin >= other.end || other.begin >= out.end) return;
  fail(p.name, "out overlaps ", what, " in memory");
}

}  // namespace

std::optional<DataType> data_type(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (name == row.name) return row.type;
  }
  return std::nullopt;
}

const char* type_name(DataType type) { return row_of(type).name; }
std::int64_t type_bytes(DataType type) { return row_of(type).bytes; }

void check_compressible(const Matrix& w) {
  constexpr std::string_view kName = "compress";
  if (w.type == DataType::kInt32) {
    fail<TypeMismatch>(kName,
                       "W is int32, expected float16, bfloat16, int8, float8_e4m3fn or float32");
  }
  // Twice what dense operands need: half of the items stay.
  const std::int64_t factor = 2 * kAlignment / type_bytes(w.type);
  require_multiple(kName, "W", w.rows, "rows", factor, w.type);
  require_multiple(kName, "W", w.cols, "columns", factor, w.type);
  if (w.type == DataType::kInt8 && w.cols / 2 > kMostInt8Products) {
    fail<std::overflow_error>(kName, "W has ", number(w.cols), " columns, an int8 product takes ",
                              number(2 * kMostInt8Products),
                              " at most: a sum of more might be outside int32");
  }
}

void check_product(const Compressed& s, const Product& p) {
  require_types(s.type, p);
  require_shapes(s, p);
  require_epilogue(s, p);
}

Problem problem_of(const Compressed& s, const Product& p) {
  require_multiple(p.name, "X", p.x.cols, "columns", kAlignment / type_bytes(s.type), s.type);
  const Layout x = layout_of(p.name, "X", p.x), out = layout_of(p.name, "out", p.out);
  if (type_bytes(s.type) == 1 && x.order != Order::kColumns) {
    fail(p.name, "X of ", type_name(s.type),
         " has to have contiguous columns: pass X.t().contiguous().t()");
  }
  require_apart(p, "X", bytes_of(p.x));
  require_apart(p, "scale", bytes_of(p.scale.data, p.scale.size, p.scale.type));
  require_apart(p, "bias", bytes_of(p.bias.data, p.bias.size, p.bias.type));
  return {
      s.type,   p.out.type, s.rows, p.x.cols, s.cols, x, out, p.bias.data, p.scale.data != nullptr,
      p.ending, p.algorithm};
}

}  // namespace sparsecore::cuda::cusparselt
