#include "harness.h"

#include <atomic>

#include "dispatch.h"

namespace sparsecore::bench {
namespace {

std::atomic<bool> any_failed{false};

void describe_machine() {
  for (const auto& cache : benchmark::CPUInfo::Get().caches) {
    if (cache.type == "Instruction") continue;
    benchmark::AddCustomContext("L" + std::to_string(cache.level) + "_bytes",
                                std::to_string(cache.size));
  }
  std::string targets;
  for (const std::string& name : supported_targets()) {
    targets += (targets.empty() ? "" : " ") + name;
  }
  benchmark::AddCustomContext("targets", targets);
}

}  // namespace

void fail(benchmark::State& state, const std::string& message) {
  any_failed = true;
  state.SkipWithError(message.c_str());
}

void count_flop(benchmark::State& state, double flop) {
  state.counters["FLOP"] = benchmark::Counter(flop, benchmark::Counter::kIsIterationInvariantRate);
}

void count_bytes(benchmark::State& state, double bytes) {
  state.counters["B"] = benchmark::Counter(bytes, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace sparsecore::bench

int main(int argc, char** argv) {
  sparsecore::bench::register_benchmarks();
  sparsecore::bench::describe_machine();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return sparsecore::bench::any_failed ? 1 : 0;
}
