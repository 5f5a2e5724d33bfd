// Rows of a convolution's right side, copied: panel[r][j] = what tap (first_row + r) % taps meets
// of channel (first_row + r) / taps in column j, or zero.
//
// Why: a packed sweep (packed_sweep.h) reads its panel from the first-level cache as often as a
// channel's weights have entries there. Copied from the image itself, with its edges as bits of a
// mask, the panel needs no padded image beforehand: a vector of the panel is one masked load, and
// one store.
// Layouts: channels apart (columns lie `step` apart, 1 or 2 read as vectors), or channels together,
// where four of them in as many pixels as a vector has lanes are transposed at once.
// Bytes: each panel element is written once; the image is read from the second-level cache, taps
// times. Bound by loads and stores: rows * width / lanes of each.
// Preconditions: the runs fill the panel's width, in order; width <= kMostPatchColumns.
#pragma once

#include <cassert>

#include "convert.h"
#include "simd.h"
#include "step_mask.h"
#include "transpose.h"

namespace sparsecore::SPARSECORE_TARGET {

// Some of the channels whose rows of one tap are in the tile, and where these are.
constexpr std::int64_t kSomeChannels = 8;
template <class Acc>
struct TapRows {
  std::int64_t first, end;  // channels
  Acc* to;                  // the first one's row
  std::int64_t stride;      // from one channel's row to the next one's

  SPARSECORE_INLINE TapRows(const PatchTile<Acc>& tile, std::int64_t tap) {
    const std::int64_t taps = tile.tap_count;
    first = (tile.first_row - tap + taps - 1) / taps;
    end = (tile.first_row + tile.rows - tap + taps - 1) / taps;
    to = tile.panel + (first * taps + tap - tile.first_row) * tile.width;
    stride = taps * tile.width;
  }
  // Those of them in [begin, begin + kSomeChannels).
  SPARSECORE_INLINE TapRows some(std::int64_t begin) const {
    TapRows result = *this;
    if (begin > first) result.first = begin;
    if (begin + kSomeChannels < end) result.end = begin + kSomeChannels;
    result.to += (result.first - first) * stride;
    return result;
  }
};

// Calls body(tap, rows) for every tap of some channels, then of others: so few that a cache line of
// each stays in the first-level cache, even where all belong in the same set (32 x 32 images: 4 KB
// from one channel to the next).
template <class Acc, class Body>
SPARSECORE_INLINE void for_taps(const PatchTile<Acc>& tile, Body body) {
  const std::int64_t last = (tile.first_row + tile.rows - 1) / tile.tap_count;
  for (std::int64_t c = tile.first_row / tile.tap_count; c <= last; c += kSomeChannels) {
    for (std::int64_t t = 0; t < tile.tap_count; ++t) {
      const TapRows<Acc> rows = TapRows<Acc>(tile, t).some(c);
      if (rows.first < rows.end) body(tile.taps[t], rows);
    }
  }
}

// A vector of columns, of all channels: what is the same for them is found once.
template <int kStep, class T>
SPARSECORE_INLINE void load_patch_vector(const T* from, std::int64_t channel_stride,
                                         std::uint64_t bits, const TapRows<T>& rows, T* to,
                                         std::int64_t columns) {
  const StepMask<T, kStep> mask(bits);
  if (columns >= kLanes<T>) {
    for (std::int64_t c = rows.first; c < rows.end; ++c) {
      store(to, mask.load_from(from));
      from += channel_stride;
      to += rows.stride;
    }
  } else {
    const LaneMask<T> some(columns);
    for (std::int64_t c = rows.first; c < rows.end; ++c) {
      store(to, mask.load_from(from), some);
      from += channel_stride;
      to += rows.stride;
    }
  }
}

// Columns kStep apart. A vector may reach beyond its run, into columns that the next one
// overwrites.
template <int kStep, class T>
SPARSECORE_INLINE void load_patches_by_vectors(const PatchTile<T>& tile, const T* image) {
  const std::int64_t channel_stride = tile.image->channel_stride;
  for_taps(tile, [&](const PatchTap& tap, const TapRows<T>& rows) {
    const T* const source = image + rows.first * channel_stride + tap.offset;
    for (std::int64_t i = 0; i < tile.run_count; ++i) {
      const PatchRun run = tile.runs[i];
      const std::int64_t end = run.first + run.count;
      for (std::int64_t j = run.first; j < end; j += kLanes<T>) {
        const std::uint64_t in_run = end - j < kLanes<T> ? (1ull << (end - j)) - 1 : kLanesSet<T>;
        load_patch_vector<kStep>(source + run.source + (j - run.first) * kStep, channel_stride,
                                 tap.inside >> j & in_run, rows, rows.to + j, tile.width - j);
      }
    }
  });
}

// Any strides and dtypes.
template <class Acc, class T>
SPARSECORE_INLINE void load_patches_singly(const PatchTile<Acc>& tile, const T* image) {
  for (std::int64_t t = 0; t < tile.tap_count; ++t) {
    const TapRows<Acc> rows(tile, t);
    Acc* to = rows.to;
    for (std::int64_t c = rows.first; c < rows.end; ++c, to += rows.stride) {
      const T* const source = image + c * tile.image->channel_stride + tile.taps[t].offset;
      for (std::int64_t i = 0; i < tile.run_count; ++i) {
        const PatchRun run = tile.runs[i];
        for (std::int64_t j = 0; j < run.count; ++j) {
          const bool is_inside = (tile.taps[t].inside >> (run.first + j) & 1u) != 0;
          to[run.first + j] = is_inside ? load_as<Acc>(source[run.source + j * tile.step]) : Acc(0);
        }
      }
    }
  }
}

// As many pixels as a vector has lanes, each at a place of its own, by `channels` of them:
// to[c * stride + i] = pixels[i][c].
template <class T>
SPARSECORE_INLINE void transpose_pixels(const T* const* pixels, std::int64_t channels, T* to,
                                        std::int64_t stride) {
  constexpr std::int64_t kPiece = 16 / sizeof(T);
  alignas(64) T block[kLanes<T> * kPiece];
  std::int64_t c = 0;
  for (; c + kPiece <= channels; c += kPiece) {
    for (int i = 0; i < kLanes<T>; ++i) {
      *reinterpret_cast<SizedAt<T, 16>*>(block + i * kPiece) =
          *reinterpret_cast<const SizedAt<T, 16>*>(pixels[i] + c);
    }
    transpose_pieces(block, kPiece, to + c * stride, stride);
  }
  for (; c < channels; ++c) {
    for (int i = 0; i < kLanes<T>; ++i) to[c * stride + i] = pixels[i][c];
  }
}

// Channels together.
template <class T>
SPARSECORE_INLINE void load_patches_of_pixels(const PatchTile<T>& tile, const T* image) {
  constexpr std::int64_t kChannels = 64;
  alignas(64) static constexpr T kZeros[kChannels] = {};
  const T* pixels[kMostPatchColumns];
  for (std::int64_t t = 0; t < tile.tap_count; ++t) {
    const TapRows<T> rows(tile, t);
    for (std::int64_t c = rows.first; c < rows.end; c += kChannels) {
      const T* const source = image + c + tile.taps[t].offset;
      for (std::int64_t i = 0; i < tile.run_count; ++i) {
        const PatchRun run = tile.runs[i];
        for (std::int64_t j = 0; j < run.count; ++j) {
          const bool is_inside = (tile.taps[t].inside >> (run.first + j) & 1u) != 0;
          pixels[run.first + j] = is_inside ? source + run.source + j * tile.step : kZeros;
        }
      }
      const std::int64_t count = rows.end - c < kChannels ? rows.end - c : kChannels;
      T* const to = rows.to + (c - rows.first) * rows.stride;
      for (std::int64_t j = 0; j < tile.width; j += kLanes<T>) {
        transpose_pixels(pixels + j, count, to + j, rows.stride);
      }
    }
  }
}

template <class Acc>
void load_patches(const PatchTile<Acc>& tile) {
  assert(tile.width <= kMostPatchColumns);
  with_storage<Acc>(tile.image->data, tile.image->dtype, [&]<class T>(const T* image) {
    if constexpr (__is_same(T, Acc)) {
      if (tile.image->channel_stride == 1 && tile.step != 1 && tile.width % kLanes<T> == 0) {
        return load_patches_of_pixels(tile, image);
      }
      if (tile.step == 1) return load_patches_by_vectors<1>(tile, image);
      if (tile.step == 2) return load_patches_by_vectors<2>(tile, image);
    }
    load_patches_singly(tile, image);
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
