// Sorted entries, some of one coordinate, as CSR: one pass that writes where the bucket sort would
// first move everything.
#pragma once

#include <cstdint>
#include <memory>
#include <ranges>
#include <span>
#include <utility>

#include "sorted_entries.h"

namespace sparsecore {

// Sums the values of entries that share a coordinate, in the order in which they come, or notes
// where each run begins where there are no values.
class Merger {
 public:
  Merger(const Values& values, std::int64_t kept, ValueOrder& order)
      : values_(values), out_(values.data != nullptr ? values.room(kept) : nullptr) {
    if (out_ == nullptr) {
      starts_ = order.starts.emplace(static_cast<std::size_t>(kept)).data();
    }
  }
  // Entry `from` begins a run, the kept-th.
  void begin(std::int64_t kept, std::int64_t from) {
    if (out_ == nullptr) {
      starts_[kept] = from;
      return;
    }
    with_values([&](const auto* in, auto* out) { out[kept] = in[from]; });
  }
  // The entries [from, end) are the kept-th, more than one; place() names their coordinate.
  template <class Place>
  void sum(std::int64_t kept, std::int64_t from, std::int64_t end, Place place) {
    if (out_ == nullptr) return;
    with_values([&]<class Bits>(const Bits* in, Bits* out) {
      const auto as_item = [](Bits payload) { return Item<Bits>{payload}; };
      const auto run = std::span<const Bits>(in + from, in + end) | std::views::transform(as_item);
      out[kept] = static_cast<Bits>(sum_run(run, values_.dtype, place));
    });
  }

 private:
  template <class Bits>
  struct Item {
    Bits payload;
  };
  template <class Body>
  void with_values(Body body) {
    with_item_size(item_size(values_.dtype), [&]<class Bits>(Bits) {
      body(static_cast<const Bits*>(values_.data), static_cast<Bits*>(out_));
    });
  }

  const Values& values_;
  void* out_;
  std::int64_t* starts_ = nullptr;
};

// `repeats` entries have the coordinate of the one before them. Source: as for Buckets.
template <class Wide, class Source>
CanonicalCsr merged_csr(const Source& source, const Target& target, std::int64_t repeats,
                        Duplicates duplicates, const Values& values) {
  const std::int64_t size = source.size();
  CanonicalCsr result;
  const Pages<std::int64_t> storage = zero_offsets(target.rows);
  const std::span<std::int64_t> offsets(storage.data(), static_cast<std::size_t>(target.rows) + 1);
  IndexArray columns(size - repeats, column_width(target.cols));
  Merger merger(values, size - repeats, result.order);
  with_indices(columns, [&]<class I>(I* out) {
    Wide before = 0;
    std::int64_t kept = 0, first = 0;  // the entry that the last run begins with
    const auto end_run = [&](std::int64_t end) {
      if (end - first < 2) return;
      const auto place = [&] { return target.place(before); };
      if (duplicates == Duplicates::kError) refuse_duplicate(place());
      merger.sum(kept - 1, first, end, place);
    };
    for (std::int64_t begin = 0; begin < size; begin += kSortWindow) {
      if (begin % kPollEntries == 0) poll();
      const std::int64_t count = std::min(kSortWindow, size - begin);
      Wide keys[kSortWindow];
      source.read_keys(begin, count, keys);
      for (std::int64_t i = 0; i < count; ++i) {
        if (keys[i] == before && begin + i > 0) continue;
        end_run(begin + i);
        before = keys[i];
        first = begin + i;
        out[kept] = static_cast<I>(target.column(before));
        merger.begin(kept, first);
        offsets[static_cast<std::size_t>(target.row(before)) + 1] = ++kept;
      }
    }
    end_run(size);
  });
  end_empty_rows(offsets);
  result.structure = std::make_shared<const CsrStructure>(
      target.rows, target.cols, compact_offsets(offsets), std::move(columns));
  return result;
}

}  // namespace sparsecore
