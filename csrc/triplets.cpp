#include "triplets.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "merged_csr.h"
#include "parallel.h"
#include "sorted_entries.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }
std::string text(Index value) { return std::to_string(value); }

[[noreturn]] void refuse_coordinate(const char* what, const IndexView& indices, Index limit) {
  Index position = 0;
  while (indices[position] >= 0 && indices[position] < limit) ++position;
  throw std::out_of_range(std::string("COO: ") + what + " " + text(indices[position]) +
                          " at position " + text(position) + " is outside [0, " + text(limit) +
                          ")");
}

struct Triplets {
  IndexView row, col;
  Index rows, cols;  // the shape: coordinates are checked as they are read
  int column_bits;
  const Values& values;

  Index size() const { return row.size; }

  void read_tops(Index begin, Index count, int shift, std::uint32_t* tops) const {
    with_checked(begin, count, [&](const auto* r, const auto* c) {
      join_tops(r, c, count, column_bits, shift, tops);
    });
  }
  template <class Key>
  void read_checked(Index begin, Index count, Key* keys) const {
    with_checked(begin, count,
                 [&](const auto* r, const auto* c) { join_keys(r, c, count, column_bits, keys); });
  }
  // For entries that read_tops() has checked.
  template <class Key>
  void read_keys(Index begin, Index count, Key* keys) const {
    with_pointers(begin,
                  [&](const auto* r, const auto* c) { join_keys(r, c, count, column_bits, keys); });
  }
  template <class Payload>
  const Payload* payloads(Index begin, Index count, Payload* window) const {
    return payloads_of(values, begin, count, window);
  }

 private:
  template <class Body>
  void with_pointers(Index begin, Body body) const {
    with_indices(row, [&](const auto* r) {
      with_indices(col, [&](const auto* c) { body(r + begin, c + begin); });
    });
  }
  template <class Body>
  void with_checked(Index begin, Index count, Body body) const {
    with_pointers(begin, [&](const auto* r, const auto* c) {
      if (is_outside(r, count, rows)) refuse_coordinate("row", row, rows);
      if (is_outside(c, count, cols)) refuse_coordinate("column", col, cols);
      body(r, c);
    });
  }
  template <class I>
  static bool is_outside(const I* indices, Index count, Index limit) {
    using Signed = std::make_signed_t<I>;
    if (limit - 1 <= std::numeric_limits<Signed>::max()) {
      // A sign shows a number that is negative, or past the last. (Every target has this in
      // vectors, but not a maximum.)
      const auto last = static_cast<I>(limit - 1);
      I signs = 0;
      for (Index i = 0; i < count; ++i) {
        signs |= static_cast<I>(indices[i] | static_cast<I>(last - indices[i]));
      }
      return static_cast<Signed>(signs) < 0;
    }
    I largest = 0;
    for (Index i = 0; i < count; ++i) largest = std::max(largest, indices[i]);
    return count > 0 && std::uint64_t{largest} >= static_cast<std::uint64_t>(limit);
  }
};

// Whether no entry lies before the one before it, and how many lie where that does.
struct Ascent {
  bool sorted = true;
  Index repeats = 0;
};
template <class Wide>
Ascent ascent_of(const Triplets& source) {
  Wide keys[kSortWindow];
  Ascent result;
  for (Index begin = 0; begin < source.size(); begin += kSortWindow - 1) {  // one in common
    poll();
    const Index count = std::min(kSortWindow, source.size() - begin);
    source.read_checked(begin, count, keys);
    bool ascending = true;
    for (Index i = 1; i < count; ++i) ascending &= keys[i - 1] < keys[i];
    if (ascending) continue;
    for (Index i = 1; i < count; ++i) {
      result.sorted &= keys[i - 1] <= keys[i];
      result.repeats += keys[i - 1] == keys[i] ? 1 : 0;
    }
    if (!result.sorted) break;
  }
  return result;
}

void copy_values(const Values& values, Index size) {
  if (values.data == nullptr) return;
  void* const out = values.room(size);
  const Index bytes = size * item_size(values.dtype);
  if (bytes > 0) std::memcpy(out, values.data, at(bytes));
}

IndexArray narrowed(const IndexView& indices, Index limit) {
  IndexArray result(indices.size, column_width(limit));
  with_indices(result, [&]<class I>(I* out) {
    with_indices(indices, [&](const auto* in) {
      std::transform(in, in + indices.size, out, [](auto i) { return static_cast<I>(i); });
    });
  });
  return result;
}

// Triplets that need neither sorting nor summing: the columns are copied, the rows counted.
CanonicalCsr canonical_csr(const Triplets& source) {
  const Pages<Index> storage = zero_offsets(source.rows);
  const std::span<Index> offsets(storage.data(), at(source.rows) + 1);
  with_indices(source.row, [&](const auto* row) {
    for (Index begin = 0; begin < source.size(); begin += kPollEntries) {
      poll();
      const Index end = std::min(begin + kPollEntries, source.size());
      for (Index i = begin; i < end; ++i) offsets[at(static_cast<Index>(row[i])) + 1] = i + 1;
    }
  });
  end_empty_rows(offsets);
  copy_values(source.values, source.size());
  return {std::make_shared<const CsrStructure>(source.rows, source.cols, compact_offsets(offsets),
                                               narrowed(source.col, source.cols)),
          {}};
}

// Calls body(source, target, bits, Wide, Low, Payload) with how the triplets are best sorted.
template <class Body>
auto with_triplets(const IndexView& row, const IndexView& col, Index rows, Index cols,
                   const Values& values, Body body) {
  validate_shape("COO", rows, cols);
  if (row.size != col.size) {
    throw std::invalid_argument("COO: row has " + text(row.size) + " entries, col has " +
                                text(col.size) + ", expected the same number");
  }
  const int column_bits = bits_for(cols);
  const KeyBits bits{bits_for(rows) + column_bits, 0};
  const Triplets source{row, col, rows, cols, column_bits, values};
  const Target target{rows, cols, column_bits};
  return with_entries(bits, source.size(), values, [&](auto wide, auto low, auto payload) {
    return body(source, target, bits, wide, low, payload);
  });
}

}  // namespace

CanonicalCsr csr_from_triplets(const IndexView& row, const IndexView& col, Index rows, Index cols,
                               Duplicates duplicates, const Values& values, int threads) {
  threads = useful_threads(threads, sort_ns(row.size));
  return with_triplets(
      row, col, rows, cols, values,
      [&]<class Wide, class Low, class Payload>(const Triplets& source, const Target& target,
                                                KeyBits bits, Wide, Low, Payload) {
        CanonicalCsr result;
        run_alone([&] {
          const Ascent ascent = ascent_of<Wide>(source);
          if (!ascent.sorted) return;
          result = ascent.repeats == 0
                       ? canonical_csr(source)
                       : merged_csr<Wide>(source, target, ascent.repeats, duplicates, values);
        });
        if (result.structure) return result;
        return sorted_csr<Wide, Low, Payload>(source, target, bits, duplicates, values, threads);
      });
}

CanonicalTriplets sum_triplets(const IndexView& row, const IndexView& col, Index rows, Index cols,
                               const Values& values, int threads) {
  threads = useful_threads(threads, sort_ns(row.size));
  return with_triplets(
      row, col, rows, cols, values,
      [&]<class Wide, class Low, class Payload>(const Triplets& source, const Target& target,
                                                KeyBits bits, Wide, Low, Payload) {
        CanonicalTriplets result;
        bool canonical = false;
        run_alone([&] {
          const Ascent ascent = ascent_of<Wide>(source);
          canonical = ascent.sorted && ascent.repeats == 0;
        });
        if (canonical) {
          copy_values(values, source.size());
          return CanonicalTriplets{narrowed(row, rows), narrowed(col, cols), {}};
        }
        result.order = write_sorted<Wide, Low, Payload>(
            source, target, bits, Duplicates::kSum, values, threads,
            [&](const auto&, const std::vector<Index>& position) {
              result.row = IndexArray(position.back(), column_width(rows));
              result.col = IndexArray(position.back(), column_width(cols));
            },
            [&](const auto& buckets, Index b, const auto& items, Index position) {
              const auto key = buckets.keys(b);
              const auto write = [&](IndexArray& indices, auto of) {
                with_indices(indices, [&]<class I>(I* out) {
                  std::transform(items.begin(), items.end(), out + position,
                                 [=](const auto& item) { return static_cast<I>(of(key(item))); });
                });
              };
              write(result.row, [&](auto whole) { return target.row(whole); });
              write(result.col, [&](auto whole) { return target.column(whole); });
            });
        return result;
      });
}

}  // namespace sparsecore
