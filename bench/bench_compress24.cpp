// csrc/cpu/compress24.h: choosing two of each four, and compressing to values and 2-bit positions,
// by CPU target and dtype.
//
// Rate: bytes read and written / t, with b bytes a value and s values:
//   prune     s * (b + 1)              values in, a mask byte each out
//   compress  s * (b + b / 2 + 1 / 8)  values in, half of them and half a byte for each four out;
//             of a matrix that is 2:4, and (prune_compress) of one that is not, in one pass
// Dense baseline: memcpy of half as many bytes, which reads and writes as many in all.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "dense_convert.h"
#include "harness.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

constexpr std::int64_t kSizes[] = {1024, 4096};
constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kInt8};

struct Key {
  DType dtype;
  std::int64_t size;
  bool operator==(const Key&) const = default;
};

using Bytes = AlignedVector<std::uint8_t>;

struct Problem {
  Key key;
  Bytes dense, pruned;                      // the matrix, and what should be left of it
  std::vector<std::uint8_t> expected_mask;  // from the values in double, by sorting
  Bytes mask, values;                       // results
  std::shared_ptr<const Sparse24Structure> structure;

  std::int64_t count() const { return key.size * key.size; }
  MatrixView view(Bytes& bytes) const {
    return {bytes.data(), key.dtype, key.size, key.size, key.size, 1};
  }
};

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

void put(Bytes& bytes, DType dtype, std::size_t i, float value) {
  const auto write = [&](auto item) { std::memcpy(&bytes[i * sizeof item], &item, sizeof item); };
  if (dtype == DType::kFloat32) return write(value);
  if (dtype == DType::kFloat16) return write(to_half(value));
  write(static_cast<std::int8_t>(value * 127));
}

double get(const Bytes& bytes, DType dtype, std::size_t i) {
  const auto read = [&](auto item) {
    std::memcpy(&item, &bytes[i * sizeof item], sizeof item);
    return item;
  };
  if (dtype == DType::kFloat32) return double{read(float{})};
  if (dtype == DType::kFloat16) return double{to_float(read(Half{}))};
  return double{static_cast<float>(read(std::int8_t{}))};
}

Problem make_problem(const Key& key) {
  const Dense random = random_dense(key.size, key.size, 1);
  const std::size_t count = random.values.size(), item = at(item_size(key.dtype));
  Problem p{.key = key,
            .dense = Bytes(count * item),
            .pruned = Bytes(count * item),
            .expected_mask = std::vector<std::uint8_t>(count),
            .mask = Bytes(count),
            .values = Bytes(count * item / 2),
            .structure = nullptr};
  for (std::size_t i = 0; i < count; ++i) put(p.dense, key.dtype, i, random.values[i]);
  for (std::size_t group = 0; group < count; group += 4) {
    std::array<std::size_t, 4> order{group, group + 1, group + 2, group + 3};
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::fabs(get(p.dense, key.dtype, a)) > std::fabs(get(p.dense, key.dtype, b));
    });
    for (const std::size_t i : {order[0], order[1]}) {
      p.expected_mask[i] = 1;
      std::memcpy(&p.pruned[i * item], &p.dense[i * item], item);
    }
  }
  return p;
}

std::string wrong_mask(const Problem& p) {
  const auto [got, expected] = std::mismatch(p.mask.begin(), p.mask.end(), p.expected_mask.begin());
  if (got == p.mask.end()) return {};
  return "mask differs at value " + std::to_string(got - p.mask.begin());
}

// Puts the values back where the metadata says, and compares.
std::string wrong_compression(const Problem& p) {
  const std::size_t item = at(item_size(p.key.dtype));
  Bytes restored(p.pruned.size());
  for (std::size_t slot = 0; slot < at(p.count() / 2); ++slot) {
    const std::size_t group = slot / 2;
    const int bits = p.structure->metadata()[group / 2] >> (4 * (group % 2) + 2 * (slot % 2));
    const std::size_t place = 4 * group + static_cast<std::size_t>(bits & 3);
    std::memcpy(&restored[place * item], &p.values[slot * item], item);
  }
  if (std::equal(restored.begin(), restored.end(), p.pruned.begin())) return {};
  return "the compressed matrix differs from the pruned one";
}

double prune_bytes(const Problem& p) {
  return static_cast<double>(p.count() * (item_size(p.key.dtype) + 1));
}
double compress_bytes(const Problem& p) {
  return static_cast<double>(p.dense.size() + p.values.size()) + static_cast<double>(p.count()) / 8;
}

void run_prune(benchmark::State& state, Problem& p) {
  std::fill(p.mask.begin(), p.mask.end(), std::uint8_t{2});
  if (check_and_measure(
          state, [&] { return wrong_mask(p); },
          [&] { prune_24(p.view(p.dense), p.mask.data(), 1); })) {
    count_bytes(state, prune_bytes(p));
  }
}

void run_compress(benchmark::State& state, Problem& p, bool prune) {
  std::fill(p.values.begin(), p.values.end(), std::uint8_t{0});
  Bytes& from = prune ? p.dense : p.pruned;
  if (check_and_measure(
          state, [&] { return wrong_compression(p); },
          [&] { p.structure = compress_24(p.view(from), prune, p.values.data(), 1); })) {
    count_bytes(state, compress_bytes(p));
  }
}

void run_memcpy(benchmark::State& state, double bytes) {
  const auto half = static_cast<std::size_t>(bytes / 2);
  const Bytes from(half, std::uint8_t{1});
  Bytes to(half);
  if (check_and_measure(
          state, [&] { return from == to ? std::string{} : "the copy differs"; },
          [&] { std::memcpy(to.data(), from.data(), half); })) {
    count_bytes(state, 2.0 * static_cast<double>(half));
    state.SetLabel("dense baseline");
  }
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_problem);
  for (const std::int64_t size : kSizes) {
    for (const DType dtype : kDTypes) {
      const std::string tail = std::string("/") + dtype_name(dtype) + "/" + std::to_string(size);
      const Key key{dtype, size};
      cases.add("memcpy_as_prune" + tail, key,
                [](auto& state, Problem& p) { run_memcpy(state, prune_bytes(p)); });
      cases.add_each_target("prune", tail, key, run_prune);
      cases.add("memcpy_as_compress" + tail, key,
                [](auto& state, Problem& p) { run_memcpy(state, compress_bytes(p)); });
      cases.add_each_target("compress", tail, key,
                            [](auto& state, Problem& p) { run_compress(state, p, false); });
      cases.add_each_target("prune_compress", tail, key,
                            [](auto& state, Problem& p) { run_compress(state, p, true); });
    }
  }
}

}  // namespace sparsecore::bench
