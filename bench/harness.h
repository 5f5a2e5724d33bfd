// What every microbenchmark program shares: registration, checking, rates, and kept problems.
#pragma once

#include <benchmark/benchmark.h>

#include <memory>
#include <optional>
#include <string>

#include "dispatch.h"

namespace sparsecore::bench {

// Each program defines this one. It is called once, before the command line is read; the list of
// CPU targets is known only then.
void register_benchmarks();

// Ends a benchmark whose result is wrong. The program goes on, and exits with 1 at the end.
void fail(benchmark::State& state, const std::string& message);

// Rates, from what one iteration does. Prefixes are decimal: 1G = 1e9.
void count_flop(benchmark::State& state, double flop);
void count_bytes(benchmark::State& state, double bytes);

// Calls call(), asks mismatch() for what is wrong with its result, and measures call() if that is
// nothing. True if it was measured.
template <class Mismatch, class Call>
bool check_and_measure(benchmark::State& state, Mismatch mismatch, Call call) {
  call();
  if (const std::string wrong = mismatch(); !wrong.empty()) {
    fail(state, wrong);
    return false;
  }
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  return true;
}

// The latest problem: a benchmark's function runs several times until its length is right, and
// neighbouring benchmarks share their input.
template <class Key, class Problem>
class Kept {
 public:
  explicit Kept(Problem (*make)(const Key&)) : make_(make) {}

  Problem& get(const Key& key) {
    if (!problem_ || key != key_) {
      problem_.reset();  // before the next one is made: two might not fit in memory
      problem_.emplace(make_(key));
      key_ = key;
    }
    return *problem_;
  }

 private:
  Problem (*make_)(const Key&);
  Key key_{};
  std::optional<Problem> problem_;
};

// Registers benchmarks body(state, problem), the problem being make(key).
template <class Key, class Problem>
class Cases {
 public:
  explicit Cases(Problem (*make)(const Key&)) : kept_(std::make_shared<Kept<Key, Problem>>(make)) {}

  template <class Body>
  void add(const std::string& name, const Key& key, Body body) const {
    benchmark::RegisterBenchmark(
        name.c_str(), [=, kept = kept_](benchmark::State& state) { body(state, kept->get(key)); });
  }

  // One for each CPU target: "name/TARGET" and the tail.
  template <class Body>
  void add_each_target(const std::string& name, const std::string& tail, const Key& key,
                       Body body) const {
    for (const std::string& target : supported_targets()) {
      add(name + "/" + target + tail, key, [=](benchmark::State& state, Problem& problem) {
        set_target(target);
        body(state, problem);
      });
    }
  }

 private:
  std::shared_ptr<Kept<Key, Problem>> kept_;
};

}  // namespace sparsecore::bench
