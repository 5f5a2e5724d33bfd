#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>
#endif

namespace sparsecore {
namespace {

// Below this a second thread costs more (4-5 us a region) than it saves.
constexpr double kWorkPerThread = 3e4;
// At the slowest kernel's 0.5e9 operations a second, a chunk of this lasts 0.2 s.
constexpr double kMaxChunkWork = 1e8;
constexpr int kChunksPerThread = 4;  // slack for uneven chunks and busy cores
constexpr auto kInterruptPeriod = std::chrono::milliseconds(50);

std::atomic<bool (*)()> interrupt_check{nullptr};

std::int64_t chunk_count(std::int64_t n, int threads, double work) {
  const double for_threads = threads > 1 ? threads * kChunksPerThread : 1;
  const double chunks = std::max(for_threads, work / kMaxChunkWork);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(chunks), 1,
                                  std::max<std::int64_t>(n, 1));
}

// What the threads of one parallel_for share, and what each knows of itself while in it.
struct Region {
  std::atomic<bool> stop{false};
};
thread_local Region* current_region = nullptr;
thread_local bool is_caller = false;

bool stop_requested() {
  // Outlives the region, or jobs of many short regions would never be asked.
  thread_local std::chrono::steady_clock::time_point last{};
  bool (*check)() = interrupt_check.load(std::memory_order_relaxed);
  if (check == nullptr) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - last < kInterruptPeriod) return false;
  last = now;
  return check();
}

// Marks this thread as working in a region, for the time of a chunk.
class InRegion {
 public:
  InRegion(Region& region, bool caller) {
    current_region = &region;
    is_caller = caller;
  }
  ~InRegion() { current_region = nullptr; }
  InRegion(const InRegion&) = delete;
  InRegion& operator=(const InRegion&) = delete;
};

// More threads than this only cost: results do not depend on their number.
int most_threads() {
#if defined(_OPENMP)
  return std::max(8, 4 * omp_get_num_procs());
#else
  return 1;
#endif
}

}  // namespace

int useful_threads(int threads, double work) {
  return std::clamp(static_cast<int>(std::min(work / kWorkPerThread, 1e6)), 1,
                    std::clamp(threads, 1, most_threads()));
}

void poll() {
  if (current_region == nullptr) return;
  if (current_region->stop.load(std::memory_order_relaxed)) throw Interrupted();
  if (is_caller && stop_requested()) throw Interrupted();
}

Bounds even_bounds(std::int64_t n, int threads, double work) {
  const std::int64_t chunks = chunk_count(n, threads, work);
  Bounds bounds(static_cast<std::size_t>(chunks) + 1);
  for (std::int64_t i = 0; i <= chunks; ++i) {
    bounds[static_cast<std::size_t>(i)] = n / chunks * i + std::min(i, n % chunks);
  }
  return bounds;
}

Bounds balanced_bounds(const IndexView& offsets, int threads, double work) {
  constexpr std::int64_t kRowCost = 4;  // a row costs about as much as four entries by itself
  const std::int64_t rows = offsets.size - 1;
  const auto cost_before = [&](std::int64_t row) { return offsets[row] + kRowCost * row; };
  const std::int64_t chunks = chunk_count(rows, threads, work);
  const std::int64_t total = cost_before(rows);
  Bounds bounds{0};
  for (std::int64_t i = 1; i < chunks; ++i) {
    const std::int64_t goal = total / chunks * i;
    std::int64_t low = bounds.back(), high = rows;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (cost_before(middle) < goal) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low > bounds.back() && low < rows) bounds.push_back(low);
  }
  bounds.push_back(rows);
  return bounds;
}

void parallel_for(const Bounds& bounds, int threads,
                  const std::function<void(std::int64_t, std::int64_t)>& body) {
  const std::int64_t chunks = static_cast<std::int64_t>(bounds.size()) - 1;
  Region region;
  const auto run_chunk = [&](std::int64_t i, bool caller) {
    const InRegion in_region(region, caller);
    poll();
    body(bounds[static_cast<std::size_t>(i)], bounds[static_cast<std::size_t>(i) + 1]);
  };
  if (threads <= 1 || chunks <= 1) {
    for (std::int64_t i = 0; i < chunks; ++i) run_chunk(i, true);
    return;
  }
#if defined(_OPENMP)
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t i = 0; i < chunks; ++i) {
    if (region.stop.load(std::memory_order_relaxed)) continue;
    try {
      run_chunk(i, omp_get_thread_num() == 0);
    } catch (...) {
#pragma omp critical(sparsecore_error)
      if (!error) error = std::current_exception();
      region.stop.store(true, std::memory_order_relaxed);
    }
  }
  if (error) std::rethrow_exception(error);
#endif
}

void set_interrupt_check(bool (*check)()) { interrupt_check.store(check); }

// libgomp keeps its worker threads between regions. fork() copies the pool's bookkeeping but not
// the threads, so the child's first region would wait for ever. Ending the pool before every fork
// lets both sides start afresh; parent and child each pay one pool start (about 15 us).
void install_fork_remedy() {
#if defined(_OPENMP)
  pthread_atfork([] { omp_pause_resource_all(omp_pause_hard); }, nullptr, nullptr);
#endif
}

}  // namespace sparsecore
