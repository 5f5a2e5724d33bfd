// Copies of X, of 16 bits, to a stage of a ring in shared memory (shared_tile.h), beside the
// threads that start them: 16 bytes a thread, eight neighbours a line of 128 bytes, in global
// memory as well.
#pragma once

#include "async_copy.h"
#include "scalars.h"
#include "shared_tile.h"

namespace sparsecore::cuda {

// This thread's share of the copies of a stage: 64 rows of X, 128 columns. Lines run along X's
// columns, 64 of them and then the next 64, or along its rows. All that is the same in every step
// is found out once.
template <class T, bool kAlongN, int kColumns, int kThreads>
class LineCopies {
 public:
  __device__ __forceinline__ LineCopies(const MatrixView& x, std::int64_t column0)
      : data_(static_cast<const T*>(x.data)),
        stride_(kAlongN ? x.row_stride : x.col_stride),
        line_(static_cast<int>(threadIdx.x) / kLineChunks),
        chunk_(static_cast<int>(threadIdx.x) % kLineChunks) {
    const int first = chunk_ * kChunkBytes / 2;
    next_ = (kAlongN ? line_ : column0 + line_) * stride_ + (kAlongN ? column0 : 0) + first;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const std::int64_t left =
          x.cols - column0 - (kAlongN ? i / 2 * kLineItems + first : i * kLines + line_);
      most_[i] = kAlongN ? chunk_bytes(left) : (left > 0 ? kChunkBytes : 0);
    }
  }

  // Starts the copies for the next 64 of X's rows, of which `left` are there.
  __device__ __forceinline__ void start(int left, char* stage) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int below = line_ + i % 2 * kLines;
      const int there = kAlongN ? (below < left ? kChunkBytes : 0)
                                : chunk_bytes(left - chunk_ * (kChunkBytes / 2));
      const T* const from =
          data_ + next_ +
          (kAlongN ? i % 2 * kLines * stride_ + i / 2 * kLineItems : i * kLines * stride_);
      copy_async_16(stage + chunk_offset(line_ + i * kLines, chunk_), from,
                    there < most_[i] ? there : most_[i]);
    }
    next_ += kAlongN ? kLineItems * stride_ : kLineItems;
  }

 private:
  // How many bytes of a chunk there are, where `left` items are left of the line.
  static __device__ __forceinline__ int chunk_bytes(std::int64_t left) {
    return left >= kChunkBytes / 2 ? kChunkBytes : (left > 0 ? static_cast<int>(left) * 2 : 0);
  }

  static constexpr int kLines = kThreads / kLineChunks, kCopies = kColumns / kLines;
  static_assert(2 * kLines == kLineItems && sizeof(T) * kLineItems == kLineBytes);

  const T* data_;
  std::int64_t stride_, next_;
  int line_, chunk_;
  int most_[kCopies];  // bytes
};

}  // namespace sparsecore::cuda
