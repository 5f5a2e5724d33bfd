// Compressing and multiplying, on the processor.
#include <cmath>
#include <cstring>
#include <vector>

#include "numbers.h"
#include "objects.h"

namespace fake {
namespace {

constexpr std::uint64_t kCompressed = 0x434f4d5052455353;
constexpr std::int64_t kScratchBytes = 512, kWorkspaceBytes = 4096;

// What a compressed matrix begins with; then come the slots' columns, a byte each, and the values.
struct Header {
  std::uint64_t magic;
  std::int64_t rows, cols, type;
};

int group_of(int type) { return type == kFloat32 ? 2 : 4; }
std::int64_t slots_of(const Matrix& m) { return m.rows * m.cols / 2; }

bool is_aligned(const void* data) {
  return data != nullptr && reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
}

// Whether an item is kept: a negative zero is, as by the real library.
bool is_kept(const std::byte* item, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; ++i) {
    if (item[i] != std::byte{0}) return true;
  }
  return false;
}

// The kept items first, then others from the left, as many as there are slots; a third is lost.
std::vector<int> slots_of_group(const std::byte* items, int size, std::int64_t bytes) {
  std::vector<int> columns;
  for (const bool kept : {true, false}) {
    for (int i = 0; i < size; ++i) {
      const bool fits = columns.size() < static_cast<std::size_t>(size / 2);
      if (fits && is_kept(items + i * bytes, bytes) == kept) columns.push_back(i);
    }
  }
  return columns;
}

void compress(const Matrix& m, const std::byte* dense, std::byte* to) {
  const Header header{kCompressed, m.rows, m.cols, m.type};
  std::memcpy(to, &header, sizeof(header));
  std::byte* columns = to + sizeof(header);
  std::byte* values = columns + slots_of(m);
  const int size = group_of(m.type);
  const std::int64_t bytes = bytes_of(m.type);
  for (std::int64_t first = 0; first < m.rows * m.cols; first += size) {
    for (const int column : slots_of_group(dense + first * bytes, size, bytes)) {
      *columns++ = static_cast<std::byte>(column);
      std::memcpy(values, dense + (first + column) * bytes, static_cast<std::size_t>(bytes));
      values += bytes;
    }
  }
}

struct Call {
  const std::byte *s, *x;
  std::byte* out;
  const float* alpha;
};

void multiply(const Matmul& mm, const Call& call) {
  const Matrix &a = *mm.a, &b = *mm.b, &d = *mm.d;
  const std::int64_t per_row = a.cols / 2, per_group = group_of(a.type) / 2;
  const std::byte* const columns = call.s + sizeof(Header);
  const std::byte* const values = columns + slots_of(a);
  for (std::int64_t row = 0; row < d.rows; ++row) {
    for (std::int64_t column = 0; column < d.cols; ++column) {
      double sum = 0;
      for (std::int64_t slot = 0; slot < per_row; ++slot) {
        const std::int64_t at = row * per_row + slot;
        const std::int64_t inner =
            slot / per_group * group_of(a.type) + static_cast<int>(columns[at]);
        sum += multiplied(values, at, a.type) * multiplied(call.x, b.at(inner, column), b.type);
      }
      float y = call.alpha[mm.alpha_vector != 0 ? row : 0] * static_cast<float>(sum);
      if (mm.bias != nullptr) y += static_cast<float>(number(mm.bias, row, d.type));
      if (mm.relu != 0) y = y > 0 ? y : 0;
      if (mm.gelu != 0) y = 0.5f * y * (1 + std::tanh(0.7978845608f * (y + 0.044715f * y * y * y)));
      store(call.out, d.at(row, column), d.type, y);
    }
  }
}

int checked_product(const char* name, const Handle* handle, const Plan* plan, const void* beta,
                    const Call& call, const void* c, void* workspace) {
  if (const int failed = entered(name)) return failed;
  if (const int failed = used_here(handle, name)) return failed;
  if (const int failed = used(plan, name)) return failed;
  if (const int failed = used(plan->matmul, name)) return failed;
  if (const int failed = used(plan->selection, name)) return failed;
  for (const Matrix* const m : {plan->matmul->a, plan->matmul->b, plan->matmul->d}) {
    if (const int failed = used(m, name)) return failed;
  }
  for (const void* const data : {static_cast<const void*>(call.s), static_cast<const void*>(call.x),
                                 c, static_cast<const void*>(call.out)}) {
    if (!is_aligned(data)) return violation(std::string(name) + ": a misaligned operand");
  }
  if (call.alpha == nullptr || *static_cast<const float*>(beta) != 0) return kInvalidValue;
  const Header& header = *reinterpret_cast<const Header*>(call.s);
  const Matrix& a = *plan->matmul->a;
  if (header.magic != kCompressed || header.rows != a.rows || header.cols != a.cols ||
      header.type != a.type) {
    return violation(std::string(name) + ": A is not what this library has compressed");
  }
  if (!is_aligned(workspace)) return violation(std::string(name) + ": no workspace");
  std::memset(workspace, 0x5a, kWorkspaceBytes);
  return kSuccess;
}

}  // namespace
}  // namespace fake

FAKE_EXPORT int cusparseLtSpMMACompressedSize2(const fake::Handle* handle, const fake::Matrix* m,
                                               std::size_t* size, std::size_t* scratch) {
  constexpr const char* kCall = "cusparseLtSpMMACompressedSize2";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(m, kCall)) return failed;
  const std::int64_t bytes = fake::slots_of(*m) * (1 + fake::bytes_of(m->type));
  *size = sizeof(fake::Header) + static_cast<std::size_t>(bytes);
  *scratch = fake::kScratchBytes;
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtSpMMACompress2(const fake::Handle* handle, const fake::Matrix* m,
                                         int is_left, int operation, const std::byte* dense,
                                         std::byte* compressed, void* scratch, void*) {
  constexpr const char* kCall = "cusparseLtSpMMACompress2";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(m, kCall)) return failed;
  if (is_left != 1 || operation != 0 || m->leading != m->cols) return fake::kInvalidValue;
  if (!fake::is_aligned(dense) || !fake::is_aligned(compressed) || !fake::is_aligned(scratch)) {
    return fake::violation("cusparseLtSpMMACompress2: a misaligned operand");
  }
  std::memset(scratch, 0x5a, fake::kScratchBytes);
  fake::compress(*m, dense, compressed);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulGetWorkspace(const fake::Handle* handle, const fake::Plan* plan,
                                             std::size_t* bytes) {
  constexpr const char* kCall = "cusparseLtMatmulGetWorkspace";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(plan, kCall)) return failed;
  *bytes = fake::kWorkspaceBytes;
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmul(const fake::Handle* handle, const fake::Plan* plan,
                                 const float* alpha, const std::byte* s, const std::byte* x,
                                 const void* beta, const void* c, std::byte* out, void* workspace,
                                 void** streams, int count) {
  if (streams == nullptr || count != 1) return fake::kInvalidValue;
  const fake::Call call{s, x, out, alpha};
  const int failed =
      fake::checked_product("cusparseLtMatmul", handle, plan, beta, call, c, workspace);
  if (failed == fake::kSuccess) fake::multiply(*plan->matmul, call);
  return failed;
}

// Finds the third configuration to be the fastest, and leaves something else than the product.
FAKE_EXPORT int cusparseLtMatmulSearch(const fake::Handle* handle, const fake::Plan* plan,
                                       const float* alpha, const std::byte* s, const std::byte* x,
                                       const void* beta, const void* c, std::byte* out,
                                       void* workspace, void** streams, int count) {
  if (streams == nullptr || count != 1) return fake::kInvalidValue;
  const fake::Call call{s, x, out, alpha};
  const int failed =
      fake::checked_product("cusparseLtMatmulSearch", handle, plan, beta, call, c, workspace);
  if (failed != fake::kSuccess) return failed;
  std::memset(out, 0x5a, static_cast<std::size_t>(fake::bytes_of(plan->matmul->d->type)));
  plan->selection->attributes[0] = 2;
  return fake::kSuccess;
}
