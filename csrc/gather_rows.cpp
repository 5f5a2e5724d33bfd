// Two passes: where the rows begin, then what they hold. Both read places that no prefetcher can
// guess, so both ask for them some rows ahead: a row then costs its bytes instead of three misses,
// one after the other (bench/bench_row_read.cpp shows those).
#include "gather_rows.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

constexpr Index kAhead = 16;  // rows; a core waits for about as many lines at once
constexpr Index kPollRows = 1 << 16;
constexpr double kRowNanoseconds = 15, kEntryNanoseconds = 0.5;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

struct Places {
  std::vector<Index> first;    // where each of the rows begins
  std::vector<Index> offsets;  // and where in the result; and the end
};

Places places_of(const CsrStructure& a, std::span<const Index> ids) {
  Places places;
  places.first.reserve(ids.size());
  places.offsets.reserve(ids.size() + 1);
  places.offsets.push_back(0);
  with_indices(a.offsets(), [&](const auto* offsets) {
    const Index count = std::ssize(ids);
    for (Index i = 0; i < count; ++i) {
      if (i + kAhead < count) {
        const Index ahead = ids[at(i + kAhead)];
        const Index row = ahead < 0 ? ahead + a.rows() : ahead;
        if (row >= 0 && row < a.rows()) __builtin_prefetch(offsets + row);
      }
      if (i % kPollRows == 0) poll();
      const Index id = ids[at(i)], row = id < 0 ? id + a.rows() : id;
      if (row < 0 || row >= a.rows()) {
        throw std::out_of_range("CSR.gather_rows: row " + std::to_string(id) + " at position " +
                                std::to_string(i) + " is outside [-" + std::to_string(a.rows()) +
                                ", " + std::to_string(a.rows()) + ")");
      }
      const auto begin = static_cast<Index>(offsets[row]);
      places.first.push_back(begin);
      places.offsets.push_back(places.offsets.back() + static_cast<Index>(offsets[row + 1]) -
                               begin);
    }
  });
  return places;
}

// Rows are short: a call of memcpy would cost more than the copy.
template <class T>
void copy_items(const T* from, Index n, T* to) {
  constexpr Index kPiece = 16 / sizeof(T), kLong = 512 / sizeof(T);
  if (n >= kLong) {
    std::memcpy(to, from, at(n) * sizeof(T));
  } else if (n >= kPiece) {
    for (Index i = 0; i + kPiece <= n; i += kPiece) std::memcpy(to + i, from + i, 16);
    std::memcpy(to + n - kPiece, from + n - kPiece, 16);
  } else {
    for (Index i = 0; i < n; ++i) to[i] = from[i];
  }
}

// Calls copy(from, count, to) for every row, on threads; prefetch(from) some rows before.
template <class Prefetch, class Copy>
void for_each_row(const Places& places, int threads, Prefetch prefetch, Copy copy) {
  const Index rows = std::ssize(places.first);
  const double ns = kRowNanoseconds * static_cast<double>(rows) +
                    kEntryNanoseconds * static_cast<double>(places.offsets.back());
  const int useful = useful_threads(threads, ns);
  const IndexView offsets{places.offsets.data(), 8, rows + 1};
  parallel_for(balanced_bounds(offsets, useful, ns), useful, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      if (i + kAhead < end) prefetch(places.first[at(i + kAhead)]);
      const Index to = places.offsets[at(i)];
      copy(places.first[at(i)], places.offsets[at(i + 1)] - to, to);
    }
  });
}

}  // namespace

CanonicalCsr gather_rows(const CsrStructure& a, std::span<const Index> ids, const Values& values,
                         int threads) {
  Places places;
  run_alone([&] { places = places_of(a, ids); });
  const Index size = places.offsets.back();
  const bool keeps_order = values.data == nullptr;
  std::vector<Index> order(keeps_order ? at(size) : 0);
  void* const room = keeps_order ? nullptr : values.room(size);
  IndexArray columns(size, a.columns().width());
  with_indices(a.columns(), [&]<class I>(const I* from_columns) {
    I* const to_columns = reinterpret_cast<I*>(columns.data());
    if (keeps_order) {
      return for_each_row(
          places, threads, [&](Index from) { __builtin_prefetch(from_columns + from); },
          [&](Index from, Index count, Index to) {
            copy_items(from_columns + from, count, to_columns + to);
            for (Index p = 0; p < count; ++p) order[at(to + p)] = from + p;
          });
    }
    with_item_size(item_size(values.dtype), [&]<class Bits>(Bits) {
      const auto* from_values = static_cast<const Bits*>(values.data);
      auto* const to_values = static_cast<Bits*>(room);
      for_each_row(
          places, threads,
          [&](Index from) {
            __builtin_prefetch(from_columns + from);
            __builtin_prefetch(from_values + from);
          },
          [&](Index from, Index count, Index to) {
            copy_items(from_columns + from, count, to_columns + to);
            copy_items(from_values + from, count, to_values + to);
          });
    });
  });
  CanonicalCsr result{
      std::make_shared<const CsrStructure>(std::ssize(ids), a.cols(),
                                           compact_offsets(places.offsets), std::move(columns)),
      {}};
  if (keeps_order) result.order.order = std::move(order);
  return result;
}

}  // namespace sparsecore
