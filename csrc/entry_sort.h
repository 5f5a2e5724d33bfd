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
// So many entries are moved between two looks for an interrupt: some buckets are the whole matrix.
inline constexpr std::size_t kSortPoll = std::size_t{1} << 22;

// Sorts entries by bits [first_bit, end_bit) of their keys, keeping the order of equal ones. They
// end up where they were or in the buffer: the result says where. One pass counts all digits at
// once.
template <class Place, class Low, class Payload>
std::span<Entry<Low, Payload>> sort_by_digits(std::span<Entry<Low, Payload>> entries,
                                              std::vector<Entry<Low, Payload>>& buffer,
                                              int first_bit, int end_bit) {
  const int bits = end_bit - first_bit;
  if (entries.size() < 2 || bits <= 0) return entries;
  const int widest = std::min(kMaxDigitBits, static_cast<int>(std::bit_width(entries.size())));
  const int passes = (bits + widest - 1) / widest;
  const int digit_bits = (bits + passes - 1) / passes;
  const std::size_t digits = std::size_t{1} << digit_bits;
  // Counting reads up to two digits beyond the last pass: of whatever bits there are, never used.
  const auto digit = [=](const Entry<Low, Payload>& e, int pass) {
    constexpr int kLastBit = 8 * static_cast<int>(sizeof(Low)) - 1;
    const int shift = std::min(first_bit + pass * digit_bits, kLastBit);
    return static_cast<std::size_t>(e.key >> shift) & (digits - 1);
  };
  const auto for_each = [](std::span<const Entry<Low, Payload>> all, auto body) {
    for (std::size_t begin = 0; begin < all.size(); begin += kSortPoll) {
      poll();
      for (const auto& e : all.subspan(begin, std::min(kSortPoll, all.size() - begin))) body(e);
    }
  };
  buffer.resize(std::max(buffer.size(), entries.size()));
  std::span<Entry<Low, Payload>> from = entries, to(buffer.data(), entries.size());
  constexpr int kCountedAtOnce = 3;
  Place places[kCountedAtOnce][std::size_t{1} << kMaxDigitBits];
  for (int pass = 0; pass < passes; ++pass) {
    const int counted = pass % kCountedAtOnce;
    if (counted == 0) {
      for (auto& place : places) std::fill_n(place, digits, Place{0});
      for_each(from, [&](const auto& e) {
        ++places[0][digit(e, pass)];
        ++places[1][digit(e, pass + 1)];
        ++places[2][digit(e, pass + 2)];
      });
    }
    Place* const place = places[counted];
    std::exclusive_scan(place, place + digits, place, Place{0});
    for_each(from, [&](const auto& e) { to[place[digit(e, pass)]++] = e; });
    std::swap(from, to);
  }
  return from;
}

// The bits of major << minor_bits | minor from `shift` on, of `count` entries: their buckets.
template <class Major, class Minor>
void join_tops(const Major* major, const Minor* minor, std::int64_t count, int minor_bits,
               int shift, std::uint32_t* tops) {
  if (shift >= minor_bits) {
    const int drop = shift - minor_bits;
    if (drop >= static_cast<int>(8 * sizeof(Major))) return void(std::fill_n(tops, count, 0u));
    for (std::int64_t i = 0; i < count; ++i) tops[i] = static_cast<std::uint32_t>(major[i] >> drop);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    tops[i] =
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(major[i]) << (minor_bits - shift) |
                                   static_cast<std::uint64_t>(minor[i]) >> shift);
  }
}
// As much of it as Key holds.
template <class Major, class Minor, class Key>
void join_keys(const Major* major, const Minor* minor, std::int64_t count, int minor_bits,
               Key* keys) {
  if (minor_bits >= static_cast<int>(8 * sizeof(Key))) {
    for (std::int64_t i = 0; i < count; ++i) keys[i] = static_cast<Key>(minor[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    keys[i] = static_cast<Key>(major[i]) << minor_bits | static_cast<Key>(minor[i]);
  }
}

// Entries in buckets of ascending keys. Source: size(); read_tops(begin, count, shift,
// std::uint32_t* tops), the keys' bits from `shift` on; read_keys(begin, count, Low* keys), as much
// of the keys as Low holds; payloads(begin, count, Payload* window), which points to them, there or
// where they lie.
template <class Wide, class Low, class Payload>
class Buckets {
 public:
  using Item = Entry<Low, Payload>;

  template <class Source>
  Buckets(const Source& source, KeyBits bits, int threads)
      : shift_(shift_for(source.size(), bits)), settled_(bits.settled), entries_(source.size()) {
    if (source.size() <= std::int64_t{UINT32_MAX}) {
      fill<std::uint32_t>(source, std::int64_t{1} << (bits.total - shift_), threads);
    } else {
      fill<std::uint64_t>(source, std::int64_t{1} << (bits.total - shift_), threads);
    }
  }

  std::int64_t count() const { return static_cast<std::int64_t>(starts_.size()) - 1; }
  // Bucket b holds sorted entries starts()[b] ... starts()[b + 1] - 1.
  const std::vector<std::int64_t>& starts() const { return starts_; }

  std::span<Item> operator[](std::int64_t bucket) const {
    const std::int64_t begin = starts_[static_cast<std::size_t>(bucket)];
    const std::int64_t end = starts_[static_cast<std::size_t>(bucket) + 1];
    return {entries_.data() + begin, static_cast<std::size_t>(end - begin)};
  }
  // To be called once for every bucket. Returns its entries in order, which lie where they were or
  // in the buffer; that can be used again.
  std::span<Item> sorted(std::int64_t bucket, std::vector<Item>& buffer) const {
    const std::span<Item> items = (*this)[bucket];
    if (items.size() <= UINT32_MAX) {
      return sort_by_digits<std::uint32_t>(items, buffer, settled_, shift_);
    }
    return sort_by_digits<std::uint64_t>(items, buffer, settled_, shift_);
  }
  // The whole key of a bucket's entry. By value: loops that write integers would ask for it again.
  class Keys {
   public:
    Keys(std::int64_t bucket, int shift)
        : high_(static_cast<Wide>(bucket) << shift), low_((Wide{1} << shift) - 1) {}
    Wide operator()(const Item& entry) const {
      return high_ | (static_cast<Wide>(entry.key) & low_);
    }

   private:
    Wide high_, low_;
  };
  Keys keys(std::int64_t bucket) const { return {bucket, shift_}; }

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

  template <class Place, class Source>
  void fill(const Source& source, std::int64_t buckets, int threads) {
    const Bounds input =
        even_bounds(source.size(), threads, 5 * static_cast<double>(source.size()));
    const auto chunks = static_cast<std::int64_t>(input.size()) - 1;
    // Where chunk c writes its next entry of bucket b: next[c * buckets + b].
    std::vector<Place> next(static_cast<std::size_t>(chunks * buckets));
    const auto for_each_window = [&](auto body) {
      Bounds each(input.size());
      std::iota(each.begin(), each.end(), 0);
      parallel_for(each, threads, [&](std::int64_t c, std::int64_t) {
        const std::int64_t end = input[static_cast<std::size_t>(c) + 1];
        for (std::int64_t at = input[static_cast<std::size_t>(c)]; at < end; at += kSortWindow) {
          body(at, std::min(kSortWindow, end - at), next.data() + c * buckets);
        }
      });
    };
    for_each_window([&](std::int64_t at, std::int64_t n, Place* counts) {
      std::uint32_t tops[kSortWindow];
      source.read_tops(at, n, shift_, tops);
      for (std::int64_t i = 0; i < n; ++i) ++counts[tops[i]];
    });
    place_chunks(next, chunks, buckets);
    for_each_window([&](std::int64_t at, std::int64_t n, Place* places) {
      std::uint32_t tops[kSortWindow];
      Low keys[kSortWindow];
      Payload window[kSortWindow];
      source.read_tops(at, n, shift_, tops);
      source.read_keys(at, n, keys);
      const Payload* const payloads = source.payloads(at, n, window);
      Item* const entries = entries_.data();
      for (std::int64_t i = 0; i < n; ++i) entries[places[tops[i]]++] = {keys[i], payloads[i]};
    });
  }

  // Turns counts into places: bucket by bucket, and in each chunk by chunk.
  template <class Place>
  void place_chunks(std::vector<Place>& next, std::int64_t chunks, std::int64_t buckets) {
    Place total = 0;
    starts_.reserve(static_cast<std::size_t>(buckets) + 1);
    for (std::int64_t b = 0; b < buckets; ++b) {
      starts_.push_back(static_cast<std::int64_t>(total));
      for (std::int64_t c = 0; c < chunks; ++c) {
        total += std::exchange(next[static_cast<std::size_t>(c * buckets + b)], total);
      }
    }
    starts_.push_back(static_cast<std::int64_t>(total));
  }

  int shift_, settled_;
  Pages<Item> entries_;
  std::vector<std::int64_t> starts_;
};

}  // namespace sparsecore
