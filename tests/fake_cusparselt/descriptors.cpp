// Handles and descriptors of the fake library.
#include <atomic>
#include <cstring>

#include "objects.h"
#include "plans.h"

namespace fake {
namespace {

std::atomic<std::int64_t> alive{0};

// Multiples of so many items: 16 bytes of a dense matrix, 32 of a structured one.
int matrix_init(const char* call, const Handle* handle, void* memory, std::int64_t rows,
                std::int64_t cols, std::int64_t leading, std::uint32_t alignment, int type,
                int order, bool is_structured) {
  if (const int failed = entered(call)) return failed;
  if (const int failed = used_here(handle, call)) return failed;
  if (bytes_of(type) == 0 || rows <= 0 || cols <= 0 || (order != kRows && order != kColumns) ||
      leading < (order == kRows ? cols : rows)) {
    return kInvalidValue;
  }
  const std::int64_t factor = (is_structured ? 32 : 16) / bytes_of(type);
  if (rows % factor != 0 || cols % factor != 0 || leading % factor != 0 || alignment % 16 != 0) {
    return kNotSupported;
  }
  auto* const matrix = made<Matrix>(memory);
  matrix->rows = rows;
  matrix->cols = cols;
  matrix->leading = leading;
  matrix->type = type;
  matrix->order = order;
  matrix->is_structured = is_structured;
  count_living(1);
  return kSuccess;
}

bool has_product(int type, int out, int compute) {
  const bool is_half = out == kFloat16 || out == kBFloat16;
  if (type == kInt8) return compute == 0 && (is_half || out == kInt8 || out == kInt32);
  if (compute != 2) return false;
  if (type == kE4M3) return is_half || out == kFloat32;
  return type != kInt32 && type == out;
}

}  // namespace

std::int64_t living() { return alive; }
void count_living(int difference) { alive += difference; }

int used_here(const Handle* handle, const char* call) {
  if (const int failed = used(handle, call)) return failed;
  if (handle->thread != std::this_thread::get_id()) {
    return violation(std::string(call) + ": the handle is of another thread");
  }
  if (handle->device != current_device()) {
    return violation(std::string(call) + ": the handle is of another device");
  }
  return kSuccess;
}

}  // namespace fake

FAKE_EXPORT int cusparseLtInit(fake::Handle* memory) {
  if (const int failed = fake::entered("cusparseLtInit")) return failed;
  auto* const handle = fake::made<fake::Handle>(memory);
  handle->thread = std::this_thread::get_id();
  handle->device = fake::current_device();
  fake::count_living(1);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtDestroy(const fake::Handle* handle) {
  if (const int failed = fake::entered("cusparseLtDestroy")) return failed;
  if (const int failed = fake::used(handle, "cusparseLtDestroy")) return failed;
  if (handle->thread != std::this_thread::get_id()) {
    return fake::violation("cusparseLtDestroy: the handle is of another thread");
  }
  const_cast<fake::Handle*>(handle)->magic = 0;
  fake::count_living(-1);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtDenseDescriptorInit(const fake::Handle* handle, void* memory,
                                              std::int64_t rows, std::int64_t cols,
                                              std::int64_t leading, std::uint32_t alignment,
                                              int type, int order) {
  return fake::matrix_init("cusparseLtDenseDescriptorInit", handle, memory, rows, cols, leading,
                           alignment, type, order, false);
}

FAKE_EXPORT int cusparseLtStructuredDescriptorInit(const fake::Handle* handle, void* memory,
                                                   std::int64_t rows, std::int64_t cols,
                                                   std::int64_t leading, std::uint32_t alignment,
                                                   int type, int order, int sparsity) {
  if (sparsity != 0) return fake::kInvalidValue;
  return fake::matrix_init("cusparseLtStructuredDescriptorInit", handle, memory, rows, cols,
                           leading, alignment, type, order, true);
}

FAKE_EXPORT int cusparseLtMatDescriptorDestroy(const fake::Matrix* matrix) {
  constexpr const char* kCall = "cusparseLtMatDescriptorDestroy";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used(matrix, kCall)) return failed;
  if (const int failed = fake::unused_by_plans(matrix, kCall)) return failed;
  const_cast<fake::Matrix*>(matrix)->magic = 0;
  fake::count_living(-1);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulDescriptorInit(const fake::Handle* handle, void* memory, int op_a,
                                               int op_b, const fake::Matrix* a,
                                               const fake::Matrix* b, const fake::Matrix* c,
                                               const fake::Matrix* d, int compute) {
  constexpr const char* kCall = "cusparseLtMatmulDescriptorInit";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  for (const fake::Matrix* const matrix : {a, b, c, d}) {
    if (const int failed = fake::used(matrix, kCall)) return failed;
  }
  if (op_a != 0 || op_b != 0 || !a->is_structured || b->is_structured || c != d ||
      a->cols != b->rows || d->rows != a->rows || d->cols != b->cols) {
    return fake::kInvalidValue;
  }
  if (a->type != b->type || !fake::has_product(a->type, d->type, compute)) {
    return fake::kNotSupported;
  }
  const bool is_inner_contiguous = a->order == fake::kRows && b->order == fake::kColumns;
  if (fake::bytes_of(a->type) == 1 && !is_inner_contiguous) return fake::kNotSupported;
  auto* const matmul = fake::made<fake::Matmul>(memory);
  matmul->a = a;
  matmul->b = b;
  matmul->d = d;
  matmul->compute = compute;
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulDescSetAttribute(const fake::Handle* handle, fake::Matmul* matmul,
                                                 int attribute, const void* data,
                                                 std::size_t size) {
  constexpr const char* kCall = "cusparseLtMatmulDescSetAttribute";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(matmul, kCall)) return failed;
  const int type = matmul->a->type, out = matmul->d->type;
  const bool has_gelu =
      type == fake::kInt8 ? out == fake::kInt8 : type == fake::kE4M3 && out == fake::kBFloat16;
  if ((attribute == 3 && !has_gelu) || (attribute == 5 && type != fake::kInt8)) {
    return fake::kInvalidValue;
  }
  void* const to = attribute == 0   ? &matmul->relu
                   : attribute == 3 ? &matmul->gelu
                   : attribute == 5 ? &matmul->alpha_vector
                   : attribute == 8 ? static_cast<void*>(&matmul->bias)
                                    : nullptr;
  if (to == nullptr || size != (attribute == 8 ? sizeof(void*) : sizeof(int))) {
    return fake::kInvalidValue;
  }
  std::memcpy(to, data, size);
  return fake::kSuccess;
}
