// Uninitialised memory for large arrays.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsecore {

// Large arrays ask for huge pages, without which almost every write in random order would also miss
// the address cache, and the first touch of every 4 KB would be a call into the kernel.
template <class T>
class Pages {
 public:
  Pages() = default;
  explicit Pages(std::int64_t size) {
    constexpr std::size_t kHuge = std::size_t{2} << 20;
    const auto items = static_cast<std::size_t>(size);
    if (items > (std::size_t{1} << 62) / sizeof(T)) throw std::bad_alloc();
    std::size_t bytes = items * sizeof(T);
    const bool large = bytes >= 2 * kHuge;
    const std::size_t alignment = large ? kHuge : 64;
    bytes = (bytes + alignment) / alignment * alignment;
    data_.reset(static_cast<T*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (large) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // a hint: may fail, changes no result
#endif
  }
  T* data() const { return data_.get(); }
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
