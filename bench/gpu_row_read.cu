// How long one dependent read of a row takes on a device: offsets, then columns, then the value,
// and from it the next row, by a single thread. Prints nanoseconds for structures of growing size.
//
//   nvcc -std=c++17 -O3 -arch=native -Icsrc -Icsrc/cuda/ptx bench/gpu_row_read.cu -o row_read
//   ./row_read
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "cuda/launch.h"
#include "views.h"

namespace {

using sparsecore::cuda::check;

__global__ void chase(sparsecore::CsrView a, int steps, std::int64_t* last) {
  const auto* values = static_cast<const float*>(a.values);
  std::int64_t row = 0;
  for (int step = 0; step < steps; ++step) {
    const std::int64_t p = a.offsets[row];
    row = a.columns[p] + static_cast<std::int64_t>(values[p]);  // values are zeros
  }
  *last = row;
}

template <class T>
T* on_device(const std::vector<T>& host) {
  void* device = nullptr;
  check(cudaMalloc(&device, host.size() * sizeof(T)), "allocating");
  check(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice),
        "copying");
  return static_cast<T*>(device);
}

// One entry a row, whose columns lead through all rows once, in random order.
void measure(std::uint32_t rows) {
  std::vector<std::uint32_t> order(rows), offsets(rows + 1), columns(rows);
  std::iota(order.begin() + 1, order.end(), 1u);
  std::shuffle(order.begin() + 1, order.end(), std::mt19937(0));
  std::iota(offsets.begin(), offsets.end(), 0u);
  for (std::uint32_t i = 0; i < rows; ++i) columns[order[i]] = order[(i + 1) % rows];
  sparsecore::CsrView a;
  a.rows = a.cols = rows;
  a.offsets = {on_device(offsets), 4, rows + 1};
  a.columns = {on_device(columns), 4, rows};
  a.values = on_device(std::vector<float>(rows));
  auto* last = on_device(std::vector<std::int64_t>(1));
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "an event");
  check(cudaEventCreate(&end), "an event");
  constexpr int kSteps = 20000;
  for (int run = 0; run < 2; ++run) {  // the first loads the code
    check(cudaEventRecord(begin), "an event");
    chase<<<1, 1>>>(a, kSteps, last);
    check(cudaGetLastError(), "chase");
    check(cudaEventRecord(end), "an event");
    check(cudaEventSynchronize(end), "chase");
  }
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "an event");
  std::printf("{\"rows\": %u, \"bytes\": %.0f, \"ns_a_row\": %.1f}\n", rows, 12.0 * rows,
              1e6 * milliseconds / kSteps);
  for (const void* p : {a.offsets.data, a.columns.data, a.values, static_cast<const void*>(last)}) {
    check(cudaFree(const_cast<void*>(p)), "freeing");
  }
}

}  // namespace

int main() {
  for (const std::uint32_t rows : {1u << 10, 1u << 16, 1u << 20, 1u << 22, 1u << 25}) measure(rows);
}
