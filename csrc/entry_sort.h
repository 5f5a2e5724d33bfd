// The one sort behind triplets -> CSR and the transpose: entries by row, then column, those of one
// coordinate in the order they came in.
//
// An entry is a key, row << column_bits | column, and a payload that moves with it: the value's own
// bits, or the entry's place in the input. Two steps:
//
//   1. The top bits of the key put it into one of at most 2048 buckets. Each is a stream of writes;
//      so many of them fit a second-level cache and, on huge pages, its address cache.
//   2. Each bucket, some 4096 to 8192 entries up to 16 million in all, is sorted in cache by the
//   rest
//      of its bits: a radix sort, least significant digit first, in as few passes as digits of 11
//      bits allow.
//
// With 32-bit indices and payloads an entry moves 12 bytes in (8 of them twice), 16 to its bucket
// (the line is read before it is written), 8 back: 44 bytes of memory traffic.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "pages.h"
#include "parallel.h"

namespace sparsecore {

__extension__ using UInt128 = unsigned __int128;

// Low: the key's bits below those that chose the bucket, and maybe more of them.
template <class Low, class Payload>
struct Entry {
  Low key;
  Payload payload;
};

// Keys have `total` bits; `settled` low ones need no sorting, as the input ascends in them.
struct KeyBits {
  int total = 0;
  int settled = 0;
};

inline constexpr int kMaxBucketBits = 11;
inline constexpr int kMaxDigitBits = 11;
// Keys and payloads pass from the input to the sort in windows that stay in first-level cache.
inline constexpr std::int64_t kSortWindow = 512;

// Sorts entries by bits [first_bit, end_bit) of their keys, keeping the order of equal ones.
template <class Low, class Payload>
void sort_by_digits(std::span<Entry<Low, Payload>> entries,
                    std::vector<Entry<Low, Payload>>& buffer, int first_bit, int end_bit) {
  const int bits = end_bit - first_bit;
  if (entries.size() < 2 || bits <= 0) return;
  const int widest = std::min(kMaxDigitBits, static_cast<int>(std::bit_width(entries.size())));
  const int passes = (bits + widest - 1) / widest;
  const int digit_bits = (bits + passes - 1) / passes;
  const std::size_t digits = std::size_t{1} << digit_bits;
  const auto digit = [&](const Entry<Low, Payload>& e, int pass) {
    return static_cast<std::size_t>(e.key >> (first_bit + pass * digit_bits)) & (digits - 1);
  };
  buffer.resize(std::max(buffer.size(), entries.size()));
  std::span<Entry<Low, Payload>> from = entries, to(buffer.data(), entries.size());
  for (int pass = 0; pass < passes; ++pass) {
    std::size_t place[std::size_t{1} << kMaxDigitBits];
    std::fill(place, place + digits, 0);
    for (const auto& e : from) ++place[digit(e, pass)];
    std::exclusive_scan(place, place + digits, place, std::size_t{0});
    constexpr std::size_t kBetweenPolls = std::size_t{1} << 22;  // for buckets that are the matrix
    for (std::size_t begin = 0; begin < from.size(); begin += kBetweenPolls) {
      poll();
      for (const auto& e : from.subspan(begin, std::min(kBetweenPolls, from.size() - begin))) {
        to[place[digit(e, pass)]++] = e;
      }
    }
    std::swap(from, to);
  }
  if (from.data() != entries.data()) std::copy(from.begin(), from.end(), entries.begin());
}

// Entries in buckets of ascending keys. Source: size(), and
// read(begin, count, Wide* keys, Payload* payloads), which skips payloads where they are nullptr.
template <class Wide, class Low, class Payload>
class Buckets {
 public:
  using Item = Entry<Low, Payload>;

  template <class Source>
  Buckets(const Source& source, KeyBits bits, int threads)
      : shift_(shift_for(source.size(), bits)), settled_(bits.settled), entries_(source.size()) {
    const Bounds input =
        even_bounds(source.size(), threads, 5 * static_cast<double>(source.size()));
    const auto chunks = static_cast<std::int64_t>(input.size()) - 1;
    const std::int64_t buckets = std::int64_t{1} << (bits.total - shift_);
    const auto for_each_chunk = [&](auto body) {
      Bounds each(input.size());
      std::iota(each.begin(), each.end(), 0);
      parallel_for(each, threads, [&](std::int64_t c, std::int64_t) {
        body(c, input[static_cast<std::size_t>(c)], input[static_cast<std::size_t>(c) + 1]);
      });
    };
    // Where chunk c writes its next entry of bucket b: next[c * buckets + b].
    std::vector<std::int64_t> next(static_cast<std::size_t>(chunks * buckets));
    for_each_chunk([&](std::int64_t c, std::int64_t begin, std::int64_t end) {
      count(source, begin, end, next.data() + c * buckets);
    });
    place_chunks(next, chunks, buckets);
    for_each_chunk([&](std::int64_t c, std::int64_t begin, std::int64_t end) {
      distribute(source, begin, end, next.data() + c * buckets);
    });
  }

  std::int64_t count() const { return static_cast<std::int64_t>(starts_.size()) - 1; }
  // Bucket b holds sorted entries starts()[b] ... starts()[b + 1] - 1.
  const std::vector<std::int64_t>& starts() const { return starts_; }

  std::span<Item> operator[](std::int64_t bucket) const {
    const std::int64_t begin = starts_[static_cast<std::size_t>(bucket)];
    const std::int64_t end = starts_[static_cast<std::size_t>(bucket) + 1];
    return {entries_.data() + begin, static_cast<std::size_t>(end - begin)};
  }
  // To be called once for every bucket; `buffer` can be used again.
  void sort(std::int64_t bucket, std::vector<Item>& buffer) const {
    sort_by_digits((*this)[bucket], buffer, settled_, shift_);
  }
  Wide key(std::int64_t bucket, const Item& entry) const {
    const Wide low = (Wide{1} << shift_) - 1;
    return static_cast<Wide>(bucket) << shift_ | (static_cast<Wide>(entry.key) & low);
  }

 private:
  // Buckets small enough for the cache, unless that takes too many, and rests that fit Low.
  static int shift_for(std::int64_t size, KeyBits bits) {
    constexpr std::uint64_t kBucketSize = 4096;
    const auto for_cache =
        static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size) / kBucketSize));
    const int useful = std::min({for_cache, kMaxBucketBits, bits.total - bits.settled});
    constexpr int kLowBits = 8 * sizeof(Low);
    return std::min({bits.total - useful, kLowBits, static_cast<int>(8 * sizeof(Wide)) - 1});
  }

  template <class Source>
  void count(const Source& source, std::int64_t begin, std::int64_t end, std::int64_t* counts) {
    Wide keys[kSortWindow];
    for (std::int64_t at = begin; at < end; at += kSortWindow) {
      const std::int64_t n = std::min(kSortWindow, end - at);
      source.read(at, n, keys, static_cast<Payload*>(nullptr));
      for (std::int64_t i = 0; i < n; ++i) ++counts[static_cast<std::size_t>(keys[i] >> shift_)];
    }
  }

  // Turns counts into places: bucket by bucket, and in each chunk by chunk.
  void place_chunks(std::vector<std::int64_t>& next, std::int64_t chunks, std::int64_t buckets) {
    std::int64_t total = 0;
    starts_.reserve(static_cast<std::size_t>(buckets) + 1);
    for (std::int64_t b = 0; b < buckets; ++b) {
      starts_.push_back(total);
      for (std::int64_t c = 0; c < chunks; ++c) {
        total += std::exchange(next[static_cast<std::size_t>(c * buckets + b)], total);
      }
    }
    starts_.push_back(total);
  }

  template <class Source>
  void distribute(const Source& source, std::int64_t begin, std::int64_t end, std::int64_t* next) {
    Wide keys[kSortWindow];
    Payload payloads[kSortWindow];
    for (std::int64_t at = begin; at < end; at += kSortWindow) {
      const std::int64_t n = std::min(kSortWindow, end - at);
      source.read(at, n, keys, payloads);
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t place = next[static_cast<std::size_t>(keys[i] >> shift_)]++;
        entries_[place] = {static_cast<Low>(keys[i]), payloads[i]};
      }
    }
  }

  int shift_, settled_;
  Pages<Item> entries_;
  std::vector<std::int64_t> starts_;
};

}  // namespace sparsecore
