// csrc/cuda/ptx/wgmma.h on the processor: descriptors, fragments and places as the manual has them
// (PTX ISA 9.0, section 9.7.15), summed one by one in fp32. A product is computed when it is waited
// for, from what shared memory and the registers of its left side hold then: whoever changes them
// too early, or reads the sums, gets wrong ones.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "async_copy.h"
#include "dtype.h"
#include "simt.h"

namespace sparsecore::cuda {

constexpr bool kHasWgmma = true;

inline void fence_for_wgmma() {
  AsyncCopies& copies = async_copies();
  auto& own = copies.unfenced[simt::thread_of_block()];
  for (const std::uint32_t address : own) copies.is_unfenced[address / 16] = false;
  own.clear();
}

// Reads b(k, column) of a tile in shared memory with 128-byte swizzling.
struct DescribedTile {
  std::uint64_t descriptor;
  bool is_along_n;

  std::uint32_t field(int first) const {
    return static_cast<std::uint32_t>(descriptor >> first & 0x3FFFu) << 4;
  }

  // Where 32 x 128 items lie, whole lines of them.
  std::array<SharedRange, 2> ranges() const {
    const std::uint32_t begin = field(0) / 128 * 128, leading = field(16), stride = field(32);
    if (!is_along_n) return {{{begin, begin + 16 * stride}, {}}};
    return {{{begin, begin + 4 * stride}, {begin + leading, begin + leading + 4 * stride}}};
  }

  std::uint16_t operator()(int k, int column) const {
    const std::uint32_t leading = field(16), stride = field(32);
    const auto row = static_cast<std::uint32_t>(k), col = static_cast<std::uint32_t>(column);
    std::uint32_t at = field(0);
    if (is_along_n) {
      at += col / 64 * leading + row / 8 * stride + row % 8 * 128 + col % 64 * 2;
    } else {
      at += col / 8 * stride + col % 8 * 128 + row * 2;
    }
    at ^= (at >> 7 & 7u) << 4;
    const simt::Shared shared = simt::dynamic_shared();
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7u) != 0 || at + 2 > shared.size) {
      simt::leave("a descriptor of wgmma names memory outside, or another swizzling");
    }
    if (async_copies().is_unfenced[at / 16]) {
      simt::leave("wgmma reads what was copied, but not fenced");
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, shared.data + at, 2);
    return bits;
  }
};

struct WgmmaProduct {
  float* d;
  const std::uint32_t* a;
  std::uint32_t metadata;
  int selector;
  DescribedTile b;
  float (*widened)(std::uint16_t bits);
};

// What the threads of a block have under way.
struct WgmmaProducts {
  std::uint64_t block = 0;
  std::array<bool, 1024> has_begun{};  // since registers were last touched
  std::array<std::vector<WgmmaProduct>, 1024> open;
  std::array<std::vector<std::vector<WgmmaProduct>>, 1024> groups;
  std::array<std::vector<float>, 32> b;  // of the product that a warp computes
};
inline WgmmaProducts& wgmma_products() {
  static WgmmaProducts products;
  if (products.block != simt::blocks_begun()) {
    products = WgmmaProducts{};
    products.block = simt::blocks_begun();
  }
  return products;
}

inline void begin_wgmma() { wgmma_products().has_begun[simt::thread_of_block()] = true; }

inline void commit_wgmma() {
  const unsigned thread = simt::thread_of_block();
  WgmmaProducts& products = wgmma_products();
  products.groups[thread].push_back(products.open[thread]);
  products.open[thread].clear();
}

// This thread's sums of product `i` of the oldest group; the warp's first lane reads b for all.
inline void compute_wgmma(std::size_t i) {
  const unsigned thread = simt::thread_of_block(), warp = thread / 32 * 32, lane = thread % 32;
  std::vector<float>& b = wgmma_products().b[warp / 32];
  simt::ballot(~0u, true);
  if (lane == 0) {
    const WgmmaProduct& product = wgmma_products().groups[thread].front()[i];
    b.resize(32 * 128);
    for (int at = 0; at < 32 * 128; ++at) {
      b[static_cast<std::size_t>(at)] = product.widened(product.b(at / 128, at % 128));
    }
  }
  simt::ballot(~0u, true);
  const auto of_lane = [&](unsigned other) -> const WgmmaProduct& {
    return wgmma_products().groups[warp + other].front()[i];
  };
  const WgmmaProduct& own = of_lane(lane);
  for (unsigned high = 0; high < 2; ++high) {
    for (unsigned group = 0; group < 8; ++group) {
      const unsigned holder = lane / 4 * 4 + 2 * static_cast<unsigned>(own.selector) + group / 4;
      const unsigned places = of_lane(holder).metadata >> (16 * high + 4 * (group % 4)) & 15u;
      if ((places & 3u) >= places >> 2) simt::leave("places that wgmma has no meaning for");
      const std::uint32_t word = of_lane(lane / 4 * 4 + group % 4).a[group / 4 * 2 + high];
      for (unsigned slot = 0; slot < 2; ++slot) {
        const float value = own.widened(static_cast<std::uint16_t>(word >> (16 * slot)));
        const float* const row = b.data() + 128 * (4 * group + (places >> (2 * slot) & 3u));
        for (unsigned n = 0; n < 32; ++n) {
          own.d[n / 2 * 4 + 2 * high + n % 2] += value * row[n / 2 * 8 + lane % 4 * 2 + n % 2];
        }
      }
    }
  }
}

template <int kPending>
void wait_for_wgmma() {
  WgmmaProducts& products = wgmma_products();
  const unsigned thread = simt::thread_of_block();
  products.has_begun[thread] = false;
  auto& groups = products.groups[thread];
  const std::size_t done = groups.size() > kPending ? groups.size() - kPending : 0;
  for (std::size_t i = 0; i < done; ++i) {
    for (std::size_t product = 0; product < groups.front().size(); ++product) {
      compute_wgmma(product);
    }
    simt::ballot(~0u, true);
    if (thread % 32 == 0) {
      auto& read = async_copies().read[thread / 32];
      read.erase(read.begin(), read.begin() + static_cast<long>(2 * groups.front().size()));
    }
    groups.erase(groups.begin());
  }
}

template <int kCount>
void keep_in_order(float (&)[kCount]) {}

template <class T, int kSelector, bool kAlongN>
void wgmma_sparse(float (&d)[64], const std::uint32_t (&a)[4], std::uint32_t metadata,
                  std::uint64_t b) {
  WgmmaProducts& products = wgmma_products();
  const unsigned thread = simt::thread_of_block(), first = thread / 128 * 128;
  if (!products.has_begun[thread]) simt::leave("wgmma without a fence of its registers");
  const auto widened = [](std::uint16_t bits) { return to_float(T{bits}); };
  const DescribedTile tile{b, kAlongN};
  products.open[thread].push_back({d, a, metadata, kSelector, tile, widened});
  if (thread % 32 == 0) {
    for (const SharedRange& range : tile.ranges()) {
      async_copies().read[thread / 32].push_back(range);
    }
  }
  simt::warpgroup_barrier();
  if (products.open[first].back().b.descriptor != b) {
    simt::leave("the threads of a warpgroup name different tiles");
  }
  simt::warpgroup_barrier();
}

}  // namespace sparsecore::cuda
