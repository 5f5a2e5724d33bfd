// Uninitialised memory for large arrays.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsecore {

// Arrays ask for huge pages for every 2 MB, and for the rest where it fills half a page. Without
// them almost every write in random order would also miss the address cache, and the first touch of
// every 4 KB would be a call into the kernel: 64 MB take 3.6 ms to touch for the first time, with
// small pages 28.
template <class T>
class Pages {
 public:
  Pages() = default;
  explicit Pages(std::int64_t size) {
    constexpr std::size_t kHuge = std::size_t{2} << 20;
    const auto items = static_cast<std::size_t>(size);
    if (items > (std::size_t{1} << 62) / sizeof(T)) throw std::bad_alloc();
    const std::size_t bytes = items * sizeof(T);
    const std::size_t huge_bytes = (bytes + kHuge / 2) / kHuge * kHuge;
    const std::size_t alignment = huge_bytes > 0 ? kHuge : 64;
    // Not std::aligned_alloc, which may refuse a size that is no multiple of the alignment.
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, std::max({bytes, huge_bytes, sizeof(T)})) != 0) {
      throw std::bad_alloc();
    }
    data_.reset(static_cast<T*>(memory));
#if defined(__linux__)
    // A hint: may fail, changes no result.
    if (huge_bytes > 0) madvise(data_.get(), huge_bytes, MADV_HUGEPAGE);
#endif
  }
  T* data() const { return data_.get(); }
  // To be freed by std::free.
  T* release() { return data_.release(); }
  // Gives back all but the first `size` items.
  void shrink(std::int64_t size) {
    T* const old = data_.release();
    void* const kept = std::realloc(old, static_cast<std::size_t>(size) * sizeof(T) + 1);
    data_.reset(kept != nullptr ? static_cast<T*>(kept) : old);
  }
  T& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
};

}  // namespace sparsecore
