// One thread a run, so that its order, and every bit of the sum, is the host's. Runs are short.
#include "duplicates.h"
#include "found.h"
#include "scalars.h"

namespace sparsecore::cuda {
namespace {

// -0.0, unlike 0.0, changes no sum: that of negative zeros stays one.
template <class Acc>
__device__ __forceinline__ Acc nothing() {
  return static_cast<Acc>(-0.0);
}

__device__ __forceinline__ void store(std::int8_t* p, std::int64_t v) {
  *p = static_cast<std::int8_t>(v);
}
using cuda::store;

template <class T, class Acc>
__global__ void __launch_bounds__(kItemThreads)
    add_up(const T* values, ValueRuns runs, std::int64_t count, T* to, std::uint32_t* found) {
  const std::int64_t u = item_of_thread();
  bool overflows = false;
  if (u < count) {
    const std::int64_t end = u + 1 < count ? runs.starts[u + 1] : runs.size;
    Acc sum = nothing<Acc>();
    for (std::int64_t i = runs.starts[u]; i < end; ++i) {
      sum += widened<Acc>(values[runs.order == nullptr ? i : runs.order[i]]);
    }
    overflows = sizeof(T) == 1 && (sum < Acc{-128} || sum > Acc{127});
    store(to + u, sum);
  }
  report(found, kInvalid, overflows);
}

}  // namespace

bool sum_runs(const VectorView& values, const ValueRuns& runs, std::int64_t count, void* to,
              Memory& memory, Stream stream) {
  std::uint32_t* const found = nothing_found(memory, stream);
  const auto start = [&](auto kernel, auto item) {
    using T = decltype(item);
    launch("summing duplicates", kernel, grid_of(count), stream, static_cast<const T*>(values.data),
           runs, count, static_cast<T*>(to), found);
  };
  switch (values.dtype) {
    case DType::kFloat64:
      start(add_up<double, double>, double{});
      return true;
    case DType::kFloat32:
      start(add_up<float, float>, float{});
      return true;
    case DType::kFloat16:
      start(add_up<Half, float>, Half{});
      return true;
    case DType::kBFloat16:
      start(add_up<BFloat16, float>, BFloat16{});
      return true;
    default:
      start(add_up<std::int8_t, std::int64_t>, std::int8_t{});
      return (read_back(found, stream) & kInvalid) == 0;
  }
}

}  // namespace sparsecore::cuda
