#include "depthwise.h"

#include <algorithm>

namespace sparsecore {
namespace {

using Index = std::int64_t;

// Of a channel's planes and sums: two thirds of a first-level cache of 48 KB.
constexpr Index kTileBytes = Index{32} << 10;
constexpr Index kTogetherBytes = Index{16} << 10;
constexpr Index kMostTileCols = 512;
constexpr Index kMostChannels = 16;

Index ceil_div(Index a, Index b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
Index up_to_multiple(Index a, Index of) { return (a + of - 1) / of * of; }

// The places of taps along an axis, modulo the stride, ascending.
std::vector<Index> phases_of(const ConvGeometry& geometry, std::size_t axis) {
  std::vector<Index> phases;
  for (Index phase = 0; phase < geometry.stride[axis]; ++phase) {
    for (Index tap = 0; tap < geometry.kernel[axis]; ++tap) {
      if (tap * geometry.dilation[axis] % geometry.stride[axis] != phase) continue;
      phases.push_back(phase);
      break;
    }
  }
  return phases;
}

Index place_of(const std::vector<Index>& phases, Index phase) {
  return std::lower_bound(phases.begin(), phases.end(), phase) - phases.begin();
}

// The elements of [0, size) that first, first + step, ... lies in, as numbers of those, `most` at
// most.
struct Range {
  Index begin, end;
};
Range inside(Index first, Index step, Index size, Index most) {
  const Index begin = std::clamp<Index>(ceil_div(-first, step), 0, most);
  return {begin, std::clamp(ceil_div(size - first, step), begin, most)};
}

}  // namespace

DepthwisePlanes::DepthwisePlanes(const ConvGeometry& geometry, Index height, Index width,
                                 Index lanes, Index item, bool together)
    : geometry_(geometry),
      image_height_(height),
      image_width_(width),
      height_(std::max<Index>(geometry.out_size(0, height), 1)),
      width_(std::max<Index>(geometry.out_size(1, width), 1)),
      lanes_(lanes),
      item_(item),
      together_(together),
      row_phases_(phases_of(geometry, 0)),
      col_phases_(phases_of(geometry, 1)) {
  const Index more_rows = (geometry.span(0) - 1) / geometry.stride[0];
  const Index more_cols = (geometry.span(1) - 1) / geometry.stride[1];
  col_tiles_ = ceil_div(width_, kMostTileCols);
  tile_cols_ = ceil_div(width_, col_tiles_);
  plane_width_ = up_to_multiple(tile_cols_ + more_cols, lanes);
  const Index row_bytes = (count() * plane_width_ + tile_cols_) * item;
  const Index most = std::clamp<Index>(
      ((together ? kTogetherBytes : kTileBytes) - count() * more_rows * plane_width_ * item) /
          row_bytes,
      1, height_);
  row_tiles_ = ceil_div(height_, most);
  tile_rows_ = ceil_div(height_, row_tiles_);
  row_tiles_ = ceil_div(height_, tile_rows_);
  plane_rows_ = tile_rows_ + more_rows;
  stride_ = plane_rows_ * plane_width_;
  // Vectors end beyond rows, the last beyond all of them.
  sum_size_ = up_to_multiple(tile_rows_ * tile_cols_ + lanes, lanes);
}

DepthwisePlanes::Tile DepthwisePlanes::tile(Index number) const {
  const Index row = number / col_tiles_ * tile_rows_, col = number % col_tiles_ * tile_cols_;
  return {row, std::min(tile_rows_, height_ - row), col, std::min(tile_cols_, width_ - col)};
}

Index DepthwisePlanes::channels_at_once() const {
  if (together_) return kMostChannels;
  const Index bytes = (channel_size() + sum_size_) * item_;
  return std::clamp<Index>(kTileBytes / bytes, 1, kMostChannels);
}

std::vector<std::int32_t> DepthwisePlanes::offsets() const {
  std::vector<std::int32_t> offsets;
  for (Index tap = 0; tap < geometry_.taps(); ++tap) {
    const Index down = tap / geometry_.kernel[1] * geometry_.dilation[0];
    const Index right = tap % geometry_.kernel[1] * geometry_.dilation[1];
    const Index plane =
        place_of(row_phases_, down % geometry_.stride[0]) * std::ssize(col_phases_) +
        place_of(col_phases_, right % geometry_.stride[1]);
    offsets.push_back(static_cast<std::int32_t>(
        plane * stride_ + down / geometry_.stride[0] * plane_width_ + right / geometry_.stride[1]));
  }
  return offsets;
}

std::vector<TapPlane> DepthwisePlanes::describe(const Tile& tile) const {
  std::vector<TapPlane> planes;
  for (const Index down : row_phases_) {
    const Index row = tile.first_row * geometry_.stride[0] + down - geometry_.padding[0];
    const Range rows = inside(row, geometry_.stride[0], image_height_, plane_rows_);
    for (const Index right : col_phases_) {
      const Index col = tile.first_col * geometry_.stride[1] + right - geometry_.padding[1];
      const Range cols = inside(col, geometry_.stride[1], image_width_, plane_width_);
      planes.push_back({row, col, rows.begin, rows.end, cols.begin, cols.end});
    }
  }
  return planes;
}

std::vector<DepthwiseVector> DepthwisePlanes::vectors(const Tile& tile) const {
  std::vector<DepthwiseVector> vectors;
  for (Index y = 0; y < tile.rows; ++y) {
    for (Index x = 0; x < tile.cols; x += lanes_) {
      vectors.push_back({static_cast<std::int32_t>(y * plane_width_ + x),
                         static_cast<std::int32_t>(y * tile.cols + x)});
    }
  }
  while (std::ssize(vectors) % kDepthwiseVectors != 0) vectors.push_back(vectors.back());
  return vectors;
}

}  // namespace sparsecore
