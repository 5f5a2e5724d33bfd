// Entries sorted by row and column, duplicates merged, and written where they belong: what triplets
// and transposes have in common.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "duplicates.h"
#include "entry_sort.h"
#include "pages.h"
#include "triplets.h"

namespace sparsecore {

// What an entry takes, from reading to its place in the result.
inline double sort_ns(std::int64_t entries) { return 15 * static_cast<double>(entries); }

// So many entries are passed over between two looks for an interrupt.
constexpr std::int64_t kPollEntries = std::int64_t{1} << 20;

// Bits that hold 0 ... size - 1.
inline int bits_for(std::int64_t size) {
  return size > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size) - 1)) : 0;
}

// The bits of values begin ... begin + count - 1, or their places where there are no values: where
// they lie, or in the window.
template <class Payload>
const Payload* payloads_of(const Values& values, std::int64_t begin, std::int64_t count,
                           Payload* window) {
  if (values.data == nullptr) {
    std::iota(window, window + count, static_cast<Payload>(begin));
    return window;
  }
  return with_item_size(item_size(values.dtype), [&]<class Bits>(Bits) -> const Payload* {
    const Bits* from = static_cast<const Bits*>(values.data) + begin;
    if constexpr (std::is_same_v<Bits, Payload>) return from;
    std::transform(from, from + count, window, [](Bits v) { return static_cast<Payload>(v); });
    return window;
  });
}

// Where a matrix's entries go.
struct Target {
  std::int64_t rows, cols;
  int column_bits;

  template <class Wide>
  std::int64_t row(Wide key) const {
    return static_cast<std::int64_t>(key >> column_bits);
  }
  template <class Wide>
  std::int64_t column(Wide key) const {
    return static_cast<std::int64_t>(key & ((Wide{1} << column_bits) - 1));
  }
  template <class Wide>
  std::string place(Wide key) const {
    return "row " + std::to_string(row(key)) + ", column " + std::to_string(column(key));
  }
};

// Calls body(Wide, Low, Payload), the narrowest that hold a matrix's keys and its values or places.
template <class Body>
auto with_entries(KeyBits bits, std::int64_t size, const Values& values, Body body) {
  const bool small_payload =
      values.data != nullptr ? item_size(values.dtype) <= 4 : size <= std::int64_t{1} << 32;
  if (small_payload && bits.total <= 32 + kMaxBucketBits) {
    return body(std::uint64_t{}, std::uint32_t{}, std::uint32_t{});
  }
  if (bits.total <= 64) return body(std::uint64_t{}, std::uint64_t{}, std::uint64_t{});
  return body(UInt128{}, UInt128{}, std::uint64_t{});
}

[[noreturn]] inline void refuse_duplicate(const std::string& place) {
  throw std::invalid_argument("duplicate entry at " + place + "; duplicates=\"sum\" adds them up");
}

// Of the errors that threads meet, the one of the first bucket.
class FirstError {
 public:
  bool is_before(std::int64_t bucket) const {
    return bucket_.load(std::memory_order_relaxed) < bucket;
  }
  // To be called in a handler.
  void add(std::int64_t bucket) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bucket_.load() < bucket) return;
    bucket_ = bucket;
    error_ = std::current_exception();
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::atomic<std::int64_t> bucket_{INT64_MAX};
  std::exception_ptr error_;
};

// Sorts the entries of `source` and merges those of one coordinate, a bucket at a time. Then calls
// room(buckets, position), where the distinct entries of bucket b begin at position[b] and end at
// position[b + 1]; and write(buckets, b, items, position[b]) for each bucket, on any thread.
//
// Where several coordinates are refused, the error is that of the first, whatever the threads.
template <class Wide, class Low, class Payload, class Source, class Room, class Write>
ValueOrder write_sorted(const Source& source, const Target& target, KeyBits bits,
                        Duplicates duplicates, const Values& values, int threads, Room room,
                        Write write) {
  using Item = Entry<Low, Payload>;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  const Buckets<Wide, Low, Payload> buckets(source, bits, threads);
  const std::vector<std::int64_t>& starts = buckets.starts();
  ValueOrder result;
  if (values.data == nullptr) result.order.emplace(at(source.size()));

  std::vector<std::int64_t> position(starts.size(), 0);
  const auto finish = [&](std::int64_t b, std::vector<Item>& buffer) {
    const std::span<Item> items = buckets.sorted(b, buffer);
    if (values.data == nullptr) {  // the order; a payload becomes its entry's place in that
      for (std::size_t i = 0; i < items.size(); ++i) {
        (*result.order)[at(starts[at(b)]) + i] = static_cast<std::int64_t>(items[i].payload);
        items[i].payload = static_cast<Payload>(at(starts[at(b)]) + i);
      }
    }
    const auto merge = [&](std::span<const Item> run) {
      const auto place = [&] { return target.place(buckets.keys(b)(run.front())); };
      if (duplicates == Duplicates::kError) refuse_duplicate(place());
      if (values.data == nullptr) return run.front().payload;
      return static_cast<Payload>(sum_run(run, values.dtype, place));
    };
    position[at(b) + 1] = merge_duplicates<Item>(items, buckets[b].data(), merge);
  };
  const Bounds bounds =
      balanced_bounds({starts.data(), 8, std::ssize(starts)}, threads, sort_ns(source.size()));
  const auto for_each_bucket = [&](auto body) {
    parallel_for(bounds, threads, [&](std::int64_t begin, std::int64_t end) {
      std::vector<Item> buffer;
      for (std::int64_t b = begin; b < end; ++b) body(b, buffer);
    });
  };
  FirstError refused;
  for_each_bucket([&](std::int64_t b, std::vector<Item>& buffer) {
    if (refused.is_before(b)) return;
    try {
      finish(b, buffer);
    } catch (const std::logic_error&) {
      refused.add(b);
    } catch (const std::overflow_error&) {
      refused.add(b);
    }
  });
  refused.rethrow();
  std::partial_sum(position.begin(), position.end(), position.begin());

  if (values.data == nullptr && position.back() < source.size()) {
    result.starts.emplace(at(position.back()));
  }
  void* const values_out = values.data != nullptr ? values.room(position.back()) : nullptr;
  room(buckets, position);
  for_each_bucket([&](std::int64_t b, auto&) {
    const std::int64_t first = position[at(b)];
    const std::span<const Item> items = buckets[b].first(at(position[at(b) + 1] - first));
    write(buckets, b, items, first);
    const auto write_payloads = [&](auto* out) {
      using T = std::remove_pointer_t<decltype(out)>;
      std::transform(items.begin(), items.end(), out + first,
                     [](const Item& item) { return static_cast<T>(item.payload); });
    };
    if (values_out != nullptr) {
      with_item_size(item_size(values.dtype),
                     [&]<class Bits>(Bits) { write_payloads(static_cast<Bits*>(values_out)); });
    } else if (result.starts) {
      write_payloads(result.starts->data());
    }
  });
  return result;
}

// Row offsets to be filled in. (The small pages of a vector would take longer to touch: pages.h.)
inline Pages<std::int64_t> zero_offsets(std::int64_t rows) {
  Pages<std::int64_t> offsets(rows + 1);
  std::fill_n(offsets.data(), rows + 1, 0);
  return offsets;
}

// Rows without entries end where the row before them does.
inline void end_empty_rows(std::span<std::int64_t> offsets) {
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin(),
                   [](std::int64_t a, std::int64_t b) { return std::max(a, b); });
}

// The same as a CSR structure.
template <class Wide, class Low, class Payload, class Source>
CanonicalCsr sorted_csr(const Source& source, const Target& target, KeyBits bits,
                        Duplicates duplicates, const Values& values, int threads) {
  const Pages<std::int64_t> storage = zero_offsets(target.rows);
  const std::span<std::int64_t> offsets(storage.data(), static_cast<std::size_t>(target.rows) + 1);
  std::int64_t* const row_ends = offsets.data() + 1;
  IndexArray columns;
  struct LastRow {
    std::int64_t row = -1, end = 0;
  };
  std::vector<LastRow> last_rows;  // of each bucket
  const auto room = [&](const auto& buckets, const std::vector<std::int64_t>& position) {
    columns = IndexArray(position.back(), column_width(target.cols));
    last_rows.resize(static_cast<std::size_t>(buckets.count()));
  };
  // Every entry says where its row ends; the last one stays. (To ask whether it is the last costs
  // more: a mispredicted branch a row.) But a bucket's last row may go on in the buckets after it.
  const auto write = [&](const auto& buckets, std::int64_t b, const auto& items,
                         std::int64_t position) {
    if (items.empty()) return;
    const auto size = std::ssize(items);
    const auto key = buckets.keys(b);
    with_indices(columns, [&]<class I>(I* out) {
      std::transform(items.begin(), items.end(), out + position,
                     [=](const auto& item) { return static_cast<I>(target.column(key(item))); });
    });
    const auto row = [=](std::int64_t i) {
      return target.row(key(items[static_cast<std::size_t>(i)]));
    };
    const std::int64_t last_row = row(size - 1);
    std::int64_t before_last = size - 1;
    while (before_last > 0 && row(before_last - 1) == last_row) --before_last;
    for (std::int64_t i = 0; i < before_last; ++i) row_ends[row(i)] = position + i + 1;
    last_rows[static_cast<std::size_t>(b)] = {last_row, position + size};
  };
  ValueOrder order = write_sorted<Wide, Low, Payload>(source, target, bits, duplicates, values,
                                                      threads, room, write);
  for (const LastRow& last : last_rows) {
    if (last.row >= 0) row_ends[last.row] = last.end;
  }
  end_empty_rows(offsets);
  return {std::make_shared<const CsrStructure>(target.rows, target.cols, compact_offsets(offsets),
                                               std::move(columns)),
          std::move(order)};
}

}  // namespace sparsecore
