// The one way work is spread over threads.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <vector>

#include "views.h"

namespace sparsecore {

// Chunk boundaries: chunk i is [bounds[i], bounds[i + 1]).
using Bounds = std::vector<std::int64_t>;

// Cuts [0, n) evenly, or rows evenly by entries. `ns` is about how many nanoseconds the whole job
// takes one thread: it decides how many chunks there are, so that every thread gets some and none
// lasts so long that an interrupt waits.
Bounds even_bounds(std::int64_t n, int threads, double ns);
Bounds balanced_bounds(const IndexView& offsets, int threads, double ns);

// The threads worth using for a job that takes one thread about `ns` nanoseconds.
int useful_threads(int threads, double ns);

// Runs body(begin, end) for every chunk on up to `threads` threads. The first exception a body
// throws is rethrown here. poll() is called before every chunk. A body may run jobs of one thread.
void parallel_for(const Bounds& bounds, int threads,
                  const std::function<void(std::int64_t, std::int64_t)>& body);
// (By reference, as a copy of a body that refers to much is an allocation.)
template <class Body>
void parallel_for(const Bounds& bounds, int threads, const Body& body) {
  parallel_for(bounds, threads, std::function<void(std::int64_t, std::int64_t)>(std::cref(body)));
}

// Whether a job is so short that one thread does it at once, without bounds and without asking
// whether it should stop; after a thousandth of a second of such jobs, one is asked.
bool runs_at_once(int threads, double ns);

// The same for [0, n), whose bounds are made where they are needed.
template <class MakeBounds, class Body>
void parallel_for(std::int64_t n, int threads, double ns, MakeBounds make_bounds, Body body) {
  if (runs_at_once(threads, ns)) return body(std::int64_t{0}, n);
  parallel_for(make_bounds(), threads, body);
}

// For bodies whose chunks can last longer than about 0.2 s: throws Interrupted if the job should
// stop. The thread that called parallel_for asks the interrupt check, the others learn of it.
void poll();

// Runs body() on this thread as a job in which poll() works.
void run_alone(const std::function<void()>& body);

// In a body: which of the `threads` this is, from 0 on.
int this_thread();

struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

// `check` returns true when the work should stop; called at most every 50 ms. nullptr: never asked.
void set_interrupt_check(bool (*check)());

// Makes a forked child's first parallel region work (see parallel.cpp).
void install_fork_remedy();

}  // namespace sparsecore
