// What the indirection of CSR costs: reading one row after another, where the number of the next
// row depends on what was read, as it does when rows are looked up by data (graphs, embeddings).
//
// A CSR row is two dependent loads away: offsets[i], and then columns[p ...] and values[p ...],
// side by side. A dense row is one: its address is arithmetic. The matrix has 64 columns and 8
// entries a row (87.5 % sparse); a read takes the whole row, columns and values. Values are 4
// bytes, as fp32 is, but integers: adding them takes the least time there is.
//
//   read       seconds a row: t / reads
//   chase      seconds a load of a pointer chase over as many bytes: the cost of one dependent miss
//   dependent  read / chase: how many dependent misses a read is worth
//   loads      dependent loads in the chain, from the layout: 2 for CSR, 1 dense
//   L1_miss ... the dependent loads expected to miss a cache of C bytes when rows come at random
//   from
//              B bytes: loads * (1 - min(1, C / B)). An estimate: it knows neither prefetching nor
//              the TLB nor that the offsets, being few, stay in cache longest.
//
// gather is what batching hides: the same rows in the same order, but known beforehand, copied by
// gather_rows, which asks for each some rows ahead.
//
// csr and dense are paired at equal bytes. The same matrix is 5.8 times smaller as CSR (44 against
// 256 bytes a row), so that in practice CSR may be a cache level nearer. Dense baseline: dense.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gather_rows.h"
#include "harness.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

constexpr std::uint32_t kColumns = 64, kEntries = 8;
constexpr std::uint32_t kReads = 1024;  // rows an iteration

// Rows are visited by i -> kFactor * i + kStep + (what a row sums up to), modulo a power of two: an
// order that prefetchers cannot guess. kFactor = 1 mod 4 and an odd sum of the constants make it
// visit every row before any comes twice (Knuth, TAOCP 2, 3.2.1.2, theorem A). Rows are made to sum
// up to the constant kRowSum, which neither compiler nor processor can know.
constexpr std::uint32_t kFactor = 0x2c9277b5, kStep = 11;
constexpr std::uint32_t kColumnSum = kEntries / 2 * (kColumns - 1), kValueSum = 4096;
constexpr std::uint32_t kRowSum = kColumnSum + kValueSum;
static_assert(kFactor % 4 == 1 && (kStep + kRowSum) % 2 == 1);

enum class Kind { kCsr, kDense };

struct Key {
  Kind kind;
  std::int64_t bytes;
  bool operator==(const Key&) const = default;
};

struct Matrix {
  std::uint32_t mask = 0;  // rows - 1
  AlignedVector<std::uint32_t> offsets;
  AlignedVector<std::uint8_t> columns;
  AlignedVector<std::uint32_t> values;            // one dense row after another, or the entries
  std::shared_ptr<const CsrStructure> structure;  // the same as gather_rows takes it; none if dense
  double chase_seconds = 0;

  double bytes() const {
    return static_cast<double>(4 * offsets.size() + columns.size() + 4 * values.size());
  }
};

constexpr std::int64_t bytes_of_row(Kind kind) {
  return kind == Kind::kDense ? 4 * kColumns : 4 + 5 * kEntries;
}

// Pairs of columns c and 63 - c sum up to 63, pairs of values to kValueSum / 4, in 4 pairs.
void fill_row(std::mt19937& bits, std::uint8_t* columns, std::uint32_t* values) {
  for (std::uint32_t pair = 0; pair < kEntries / 2; ++pair) {
    const std::uint32_t half = kColumns / kEntries;  // pairs come from disjoint ranges
    const std::uint32_t c = pair * half + bits() % half;
    const auto value = static_cast<std::uint32_t>(bits());
    columns[pair] = static_cast<std::uint8_t>(c);
    columns[kEntries - 1 - pair] = static_cast<std::uint8_t>(kColumns - 1 - c);
    values[pair] = value;
    values[kEntries - 1 - pair] = kValueSum / (kEntries / 2) - value;
  }
}

// Seconds a step from line to line, all over `bytes` bytes.
double chase(double bytes) {
  struct alignas(64) Line {
    std::uint32_t next;
  };
  const std::uint32_t count = std::bit_floor(static_cast<std::uint32_t>(bytes / sizeof(Line)));
  AlignedVector<Line> lines(count);
  for (std::uint32_t i = 0; i < count; ++i) lines[i].next = (kFactor * i + 1) & (count - 1);
  double best = std::numeric_limits<double>::infinity();
  std::uint32_t at = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    constexpr int kSteps = 1 << 17;
    const auto start = std::chrono::steady_clock::now();
    for (int step = 0; step < kSteps; ++step) at = lines[at].next;
    [[maybe_unused]] const volatile std::uint32_t arrived = at;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count() / kSteps);
  }
  return best;
}

Matrix make_matrix(const Key& key) {
  const std::uint32_t rows =
      std::bit_floor(static_cast<std::uint32_t>(key.bytes / bytes_of_row(key.kind)));
  Matrix m{.mask = rows - 1, .offsets = {}, .columns = {}, .values = {}, .structure = nullptr};
  std::mt19937 bits(1);
  std::uint8_t columns[kEntries];
  std::uint32_t values[kEntries];
  if (key.kind == Kind::kCsr) {
    m.offsets.resize(rows + 1u);
    m.columns.resize(std::size_t{rows} * kEntries);
  }
  m.values.resize(std::size_t{rows} * (key.kind == Kind::kCsr ? kEntries : kColumns));
  for (std::size_t r = 0; r < rows; ++r) {
    fill_row(bits, columns, values);
    if (key.kind == Kind::kCsr) {
      m.offsets[r + 1] = static_cast<std::uint32_t>((r + 1) * kEntries);
      std::copy_n(columns, kEntries, &m.columns[r * kEntries]);
      std::copy_n(values, kEntries, &m.values[r * kEntries]);
    } else {
      for (std::uint32_t e = 0; e < kEntries; ++e) m.values[r * kColumns + columns[e]] = values[e];
    }
  }
  if (key.kind == Kind::kCsr) {
    m.structure = std::make_shared<const CsrStructure>(
        rows, kColumns, compact(std::span<const std::uint32_t>(m.offsets), 4),
        compact(std::span<const std::uint8_t>(m.columns), 1));
  }
  m.chase_seconds = chase(m.bytes());
  return m;
}

// Both reads return kRowSum for every row.
std::uint32_t read_csr(const Matrix& m, std::uint32_t row) {
  const std::uint32_t end = m.offsets[row + 1u];
  std::uint32_t sum = 0;
  for (std::uint32_t p = m.offsets[row]; p < end; ++p) sum += m.columns[p] + m.values[p];
  return sum;
}

std::uint32_t read_dense(const Matrix& m, std::uint32_t row) {
  const std::uint32_t* values = &m.values[std::size_t{row} * kColumns];
  std::uint32_t sum = kColumnSum;
  for (std::uint32_t c = 0; c < kColumns; ++c) sum += values[c];
  return sum;
}

template <class Read>
std::uint32_t visit(const Matrix& m, std::uint32_t row, std::uint32_t reads, Read read) {
  for (std::uint32_t i = 0; i < reads; ++i) {
    row = (kFactor * row + kStep + read(m, row)) & m.mask;
  }
  return row;
}

void report(benchmark::State& state, const Matrix& m, double seconds, double loads) {
  state.counters["read"] = seconds;
  state.counters["chase"] = m.chase_seconds;
  state.counters["dependent"] = seconds / m.chase_seconds;
  state.counters["loads"] = loads;
  for (const auto& cache : benchmark::CPUInfo::Get().caches) {
    if (cache.type == "Instruction") continue;
    state.counters["L" + std::to_string(cache.level) + "_miss"] =
        loads * (1 - std::min(1.0, cache.size / m.bytes()));
  }
}

// The rows that the chain visits next, known beforehand: their numbers take about a nanosecond
// each.
void run_gather(benchmark::State& state, const Matrix& m) {
  std::vector<std::int64_t> rows(kReads);
  std::uint32_t row = 0;
  const auto known = [](const Matrix&, std::uint32_t) { return kRowSum; };
  std::vector<std::uint32_t> values;
  CanonicalCsr gathered;
  const auto room = [&](std::int64_t size) -> void* {
    values.resize(static_cast<std::size_t>(size));
    return values.data();
  };
  std::int64_t calls = -1;  // the first is the check
  std::chrono::steady_clock::time_point start;
  const auto call = [&] {
    if (++calls == 1) start = std::chrono::steady_clock::now();
    for (std::int64_t& r : rows) r = std::exchange(row, visit(m, row, 1, known));
    gathered = gather_rows(*m.structure, rows, {m.values.data(), DType::kInt32, room}, 1);
  };
  const auto mismatch = [&] {
    std::uint64_t sum = 0;
    for (const std::uint32_t value : values) sum += value;
    for (std::int64_t p = 0; p < gathered.structure->nnz(); ++p) {
      sum += static_cast<std::uint64_t>(gathered.structure->columns()[p]);
    }
    const bool same = static_cast<std::uint32_t>(sum) == kReads * kRowSum;
    return same ? std::string{} : "other rows were gathered";
  };
  if (!check_and_measure(state, mismatch, call)) return;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  report(state, m, elapsed.count() / static_cast<double>(calls * kReads), 2);
}

template <class Read>
void run(benchmark::State& state, const Matrix& m, double loads, Read read) {
  std::uint32_t row = 0;
  const auto mismatch = [&] {
    const auto known = [](const Matrix&, std::uint32_t) { return kRowSum; };
    return row == visit(m, 0, kReads, known) ? std::string{} : "the chain went another way";
  };
  std::int64_t calls = -1;  // the first is the check
  std::chrono::steady_clock::time_point start;
  const auto call = [&] {
    if (++calls == 1) start = std::chrono::steady_clock::now();
    row = visit(m, row, kReads, read);
  };
  if (!check_and_measure(state, mismatch, call)) return;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  report(state, m, elapsed.count() / static_cast<double>(calls * kReads), loads);
}

// From the first-level cache to twice the last, which is DRAM; at least 512 MB, and no more than an
// eighth of the memory.
std::vector<std::int64_t> sizes() {
  double last_cache = 0;
  for (const auto& cache : benchmark::CPUInfo::Get().caches) {
    last_cache = std::max(last_cache, static_cast<double>(cache.size));
  }
  std::vector<std::int64_t> bytes{16 << 10, 128 << 10, 1 << 20, 8 << 20, 64 << 20, 512 << 20};
  while (static_cast<double>(bytes.back()) < 2 * last_cache) bytes.push_back(2 * bytes.back());
  const std::int64_t memory = sysconf(_SC_PHYS_PAGES) * std::int64_t{sysconf(_SC_PAGE_SIZE)};
  while (bytes.size() > 1 && bytes.back() > memory / 8) bytes.pop_back();
  return bytes;
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_matrix);
  for (const std::int64_t bytes : sizes()) {
    const std::string tail = "/KB:" + std::to_string(bytes >> 10);
    cases.add("dense" + tail, {Kind::kDense, bytes},
              [](auto& state, Matrix& m) { run(state, m, 1, read_dense); });
    cases.add("csr" + tail, {Kind::kCsr, bytes},
              [](auto& state, Matrix& m) { run(state, m, 2, read_csr); });
    cases.add("gather" + tail, {Kind::kCsr, bytes},
              [](auto& state, Matrix& m) { run_gather(state, m); });
  }
}

}  // namespace sparsecore::bench
