// Columns past 2^31, in memory that is only reserved.
#include <sys/mman.h>

#include "ops.h"
#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

// Zeros that take memory only where they are touched; data() is null where the system refuses.
class Reserved {
 public:
  explicit Reserved(Index bytes)
      : bytes_(at(bytes)),
        data_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Reserved() {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
  }
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;
  void* data() const { return data_ != MAP_FAILED ? data_ : nullptr; }

 private:
  std::size_t bytes_;
  void* data_;
};

TEST_CASE("columns past 2^31 and up to 2^32") {
  for (const Index cols : {(Index{1} << 31) + 50, Index{1} << 32}) {
    const Reserved memory(4 * cols);
    if (memory.data() == nullptr) {
      MESSAGE("not run: the system does not reserve " << 4 * cols << " bytes of address space");
      continue;
    }
    auto* const x = static_cast<float*>(memory.data());
    for (Index i = 0; i < 40; ++i) x[cols - 40 + i] = static_cast<float>(i);
    Sparse a(DType::kFloat32, cols);
    for (Index i = 0; i < 40; ++i) a.add_entry(cols - 40 + i, 1);
    a.end_row();
    for (const int width : {4, 8}) {
      const CsrArrays arrays(a, 8, width, 0);
      for_each_target([&] {
        const Dense y(DType::kFloat32, 1, 1);
        csr_matmul(arrays.view(),
                   {{x, DType::kFloat32, cols, 1, 1, 1}, {}, y.view(), false, 1, "product"});
        CHECK_EQ(y.get(0, 0), 780);
      });
    }
  }
}

TEST_CASE("more columns are refused") {
  const Index cols = (Index{1} << 32) + 1;
  Sparse a(DType::kFloat32, cols);
  a.add_entry(cols - 1, 1);
  a.end_row();
  const CsrArrays arrays(a, 1, 8, 0);
  float x = 1;
  const Dense y(DType::kFloat32, 1, 1);
  CHECK_THROWS_AS(
      csr_matmul(arrays.view(),
                 {{&x, DType::kFloat32, cols, 1, 0, 1}, {}, y.view(), false, 1, "product"}),
      std::invalid_argument);
}

}  // namespace
}  // namespace sparsecore::testing
