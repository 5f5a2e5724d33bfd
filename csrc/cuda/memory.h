// What the CUDA side is given by whoever calls: a stream, and device memory.
#pragma once

#include <cstdint>

struct CUstream_st;

namespace sparsecore::cuda {

using Stream = CUstream_st*;  // the runtime's cudaStream_t

// Whoever calls allocates, on the stream that he calls with, and keeps the memory until what was
// started is done with it.
class Memory {
 public:
  virtual ~Memory() = default;
  // Uninitialised, aligned to 256 bytes; std::bad_alloc where there is none.
  virtual void* take(std::int64_t bytes) = 0;

  template <class T>
  T* take_items(std::int64_t count) {
    return static_cast<T*>(take(count * std::int64_t{sizeof(T)}));
  }
};

}  // namespace sparsecore::cuda
