#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <chrono>
#include <exception>

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>
#endif

namespace sparsecore {
namespace {

// A thread's least share: a second one costs about 3 us a call while it is awake, and tens of them
// to wake. With this share none was slower (bench/results/threads-xeon-2-threads.json).
constexpr double kLeastShare = 10e3;
// A chunk's longest time by its estimate, which the slowest target may exceed fourfold.
constexpr double kLongestChunk = 50e6;
constexpr int kChunksPerThread = 4;  // slack for uneven chunks and busy cores
constexpr auto kInterruptPeriod = std::chrono::milliseconds(50);

std::atomic<bool (*)()> interrupt_check{nullptr};

std::int64_t chunk_count(std::int64_t n, int threads, double ns) {
  const double for_threads = threads > 1 ? threads * kChunksPerThread : 1;
  const double chunks = std::max(for_threads, ns / kLongestChunk);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(chunks), 1,
                                  std::max<std::int64_t>(n, 1));
}

// What the threads of one parallel_for share, and what each knows of itself while in it.
struct Region {
  std::atomic<bool> stop{false};
};
// A thread's own chunks: it takes these first, so that from one call to the next the same processor
// writes the same part of a result, and then what others have left. (Were chunks dealt out to
// whoever comes, most lines of a small result would change caches at every call.)
struct alignas(64) Share {
  std::atomic<std::int64_t> next{0};
  std::int64_t end = 0;
};

// Where this thread is, and whether it is the one that asks the interrupt check.
struct Place {
  Region* region = nullptr;
  int thread = 0;  // the caller's is 0
  bool asks = false;
};
thread_local Place place;

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

// Marks this thread as working in a region, for the time of a chunk. In a job within a job the
// outer one's region stays: what stops that stops both.
class InRegion {
 public:
  InRegion(Region& region, int thread) : outer_(place) {
    place = outer_.region != nullptr ? Place{outer_.region, thread, outer_.asks}
                                     : Place{&region, thread, thread == 0};
  }
  ~InRegion() { place = outer_; }
  InRegion(const InRegion&) = delete;
  InRegion& operator=(const InRegion&) = delete;

 private:
  Place outer_;
};

// More threads than this only cost: results do not depend on their number. (Asked once, as asking
// is a system call: a process that may use more processors later keeps this bound.)
int most_threads() {
#if defined(_OPENMP)
  static const int most = std::max(8, 4 * omp_get_num_procs());
  return most;
#else
  return 1;
#endif
}

}  // namespace

int useful_threads(int threads, double ns) {
  return std::clamp(static_cast<int>(std::min(ns / kLeastShare, 1e6)), 1,
                    std::clamp(threads, 1, most_threads()));
}

bool runs_at_once(int threads, double ns) {
  constexpr double kAtOnce = 50e3, kBetweenQuestions = 1e6;
  thread_local double unasked = 0;
  if (threads > 1 || ns > kAtOnce) return false;
  unasked += ns;
  if (unasked < kBetweenQuestions) return true;
  unasked = 0;
  return false;
}

void poll() {
  if (place.region == nullptr) return;
  if (place.region->stop.load(std::memory_order_relaxed)) throw Interrupted();
  if (place.asks && stop_requested()) throw Interrupted();
}

int this_thread() { return place.thread; }

Bounds even_bounds(std::int64_t n, int threads, double ns) {
  const std::int64_t chunks = chunk_count(n, threads, ns);
  Bounds bounds(static_cast<std::size_t>(chunks) + 1);
  for (std::int64_t i = 0; i <= chunks; ++i) {
    bounds[static_cast<std::size_t>(i)] = n / chunks * i + std::min(i, n % chunks);
  }
  return bounds;
}

Bounds balanced_bounds(const IndexView& offsets, int threads, double ns) {
  constexpr std::int64_t kRowCost = 4;  // a row costs about as much as four entries by itself
  const std::int64_t rows = offsets.size - 1;
  const auto cost_before = [&](std::int64_t row) { return offsets[row] + kRowCost * row; };
  const std::int64_t chunks = chunk_count(rows, threads, ns);
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
  assert(threads <= 1 || place.region == nullptr);
  const std::int64_t chunks = static_cast<std::int64_t>(bounds.size()) - 1;
  Region region;
  const auto run_chunk = [&](std::int64_t i, int thread) {
    const InRegion in_region(region, thread);
    poll();
    body(bounds[static_cast<std::size_t>(i)], bounds[static_cast<std::size_t>(i) + 1]);
  };
  if (threads <= 1 || chunks <= 1) {
    for (std::int64_t i = 0; i < chunks; ++i) run_chunk(i, 0);
    return;
  }
#if defined(_OPENMP)
  std::exception_ptr error;
  std::vector<Share> shares(static_cast<std::size_t>(threads));
  for (int t = 0; t < threads; ++t) {
    shares[static_cast<std::size_t>(t)].next = chunks * t / threads;
    shares[static_cast<std::size_t>(t)].end = chunks * (t + 1) / threads;
  }
#pragma omp parallel num_threads(threads)
  for (int t = 0; t < threads; ++t) {
    Share& share = shares[static_cast<std::size_t>((omp_get_thread_num() + t) % threads)];
    for (std::int64_t i; !region.stop.load(std::memory_order_relaxed) &&
                         (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
      try {
        run_chunk(i, omp_get_thread_num());
      } catch (...) {
#pragma omp critical(sparsecore_error)
        if (!error) error = std::current_exception();
        region.stop.store(true, std::memory_order_relaxed);
      }
    }
  }
  if (error) std::rethrow_exception(error);
#endif
}

void run_alone(const std::function<void()>& body) {
  parallel_for({0, 1}, 1, [&](std::int64_t, std::int64_t) { body(); });
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
