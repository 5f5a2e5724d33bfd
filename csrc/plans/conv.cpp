// The way of a convolution: tiles of columns of its right side, each multiplied by all output
// channels of a group before the next; of a tile, the rows that a block of columns of the weights
// needs are copied, multiplied, and overwritten by the next block's.
//
// Bytes: the packed weights once a tile (6 an fp32 entry, from the second-level cache or beyond);
// a block's part of the right side, 32 KB, is written and read in the first-level cache; the sums
// of a tile stay in the second. Flops: 2 * entries * pixels.
#include "../conv.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "../block_pool.h"
#include "../choose.h"
#include "../gather_rows.h"
#include "../patches.h"
#include "accumulate.h"
#include "block_product.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

// The pixels of images as columns of a matrix of channels: one matrix an image, or one of all where
// images follow one another as their pixels do.
class PixelColumns {
 public:
  explicit PixelColumns(const ImageView& m) : image_(m) {
    const Index pixels = m.pixels();
    const bool one = m.images <= 1 || m.image_stride == pixels * m.col_stride;
    columns_ = one ? std::max<Index>(pixels * m.images, 1) : pixels;
  }
  Index columns() const { return columns_; }
  // Rows are channels.
  MatrixView part(Index number) const {
    if (image_.data == nullptr) return {};
    auto* const data = static_cast<std::byte*>(image_.data);
    return {data + number * image_.image_stride * item_size(image_.dtype),
            image_.dtype,
            image_.channels,
            columns_,
            image_.channel_stride,
            image_.col_stride};
  }

 private:
  ImageView image_;
  Index columns_;
};

// Images as the kernels copy patches from them fastest: channels apart, in the accumulator's type.
// A copy of them is made where taps would otherwise each transpose or convert the same pixels
// again. (64 channels of 56 x 56 pixels, channels together, 3 x 3, 90 %, Zen 5: 300 us, without
// 500.)
template <class Acc>
class Planes {
 public:
  Planes(const Kernels<Acc>& k, const ImageView& x, const ConvGeometry& geometry, int threads)
      : view_(x) {
    const bool is_apart = x.channel_stride != 1 || x.channels == 1 || x.pixels() == 1;
    if (geometry.taps() == 1 || (is_apart && x.dtype == DTypeOf<Acc>::value)) return;
    const Index pixels = x.pixels(), planes = x.images * x.channels;
    room_ = BlockPool::take(static_cast<std::size_t>(planes * pixels) * sizeof(Acc));
    Acc* const to = reinterpret_cast<Acc*>(room_.get());
    const double ns = copy_ns(planes * pixels);
    const int useful = useful_threads(threads, ns);
    const Index groups = (x.channels + kPlanesAtOnce - 1) / kPlanesAtOnce;
    parallel_for(
        x.images * groups, useful, ns, [&] { return even_bounds(x.images * groups, useful, ns); },
        [&](Index begin, Index end) {
          for (Index u = begin; u < end; ++u) {
            const Index image = u / groups, first = u % groups * kPlanesAtOnce;
            const Index count = std::min(kPlanesAtOnce, x.channels - first);
            copy(k, x, image, first, count, to + (image * x.channels + first) * pixels);
          }
        });
    view_ = {to,      DTypeOf<Acc>::value, x.images, x.channels, x.height,
             x.width, x.channels * pixels, pixels,   x.width,    1};
  }
  const ImageView& view() const { return view_; }

 private:
  static constexpr Index kPlanesAtOnce = 16;  // a cache line of a pixel's channels

  static void copy(const Kernels<Acc>& k, const ImageView& x, Index image, Index first, Index count,
                   Acc* to) {
    auto* const data = static_cast<std::byte*>(x.data) +
                       (image * x.image_stride + first * x.channel_stride) * item_size(x.dtype);
    if (x.lies_evenly()) {
      const MatrixView plane{data, x.dtype, count, x.pixels(), x.channel_stride, x.col_stride};
      return k.load_panel(plane, to, x.pixels());
    }
    for (Index r = 0; r < x.height; ++r) {
      const MatrixView row{data + r * x.row_stride * item_size(x.dtype),
                           x.dtype,
                           count,
                           x.width,
                           x.channel_stride,
                           x.col_stride};
      k.load_panel(row, to + r * x.width, x.pixels());
    }
  }

  ImageView view_;
  BlockPool::Block room_;
};

template <class Acc>
class ConvProduct {
 public:
  struct Part {  // of a group: its packed weights
    const PackedStructure* packed;
    const void* values;
  };

  ConvProduct(std::vector<Part> groups, DType dtype, const ConvGeometry& geometry,
              const ImageView& x, const ConvEpilogue& epilogue, const ImageView& out)
      : k_(kernels<Acc>()),
        groups_(std::move(groups)),
        dtype_(dtype),
        x_(x),
        patches_(x, geometry),
        epilogue_(k_, {epilogue.scale, epilogue.bias, {}, epilogue.activation}),
        residual_(epilogue.residual),
        out_(out) {
    for_column_tiles(patches_.columns(), k_.lanes, k_.block_vectors,
                     [&](const ColumnTile& tile) { tiles_.push_back(tile); });
    part_columns_ = out_.columns();
    if (epilogue.residual.data != nullptr) {
      part_columns_ = std::min(part_columns_, residual_.columns());
    }
  }

  // A unit of work is a tile of columns by some row blocks of a group: by all of them, unless there
  // are too few tiles for the threads.
  void run(int threads) const {
    const PackedStructure& first = *groups_[0].packed;
    const double ns = static_cast<double>(std::ssize(groups_)) *
                      (product_ns(first.size(), first.shape().rows, patches_.columns()) +
                       copy_ns(first.shape().cols * patches_.columns()));
    const int useful = useful_threads(threads, ns);
    const Index row_blocks = first.rows().row_blocks(), tiles = std::ssize(tiles_);
    const Index least_units = useful == 1 ? 1 : kUnitsOfThread * useful;
    const Index parts =
        std::clamp<Index>(least_units / (tiles * std::ssize(groups_)), 1, row_blocks);
    const Index units = std::ssize(groups_) * tiles * parts;
    parallel_for(
        units, useful, ns, [&] { return even_bounds(units, useful, ns); },
        [&](Index begin, Index end) {
          Room room(*this, row_blocks, parts);
          for (Index u = begin; u < end; ++u) {
            const Index part = u % parts;
            multiply(groups_[static_cast<std::size_t>(u / parts / tiles)],
                     u / parts / tiles * first.shape().rows,
                     tiles_[static_cast<std::size_t>(u / parts % tiles)],
                     {row_blocks * part / parts, row_blocks * (part + 1) / parts}, room);
          }
        });
  }

 private:
  static constexpr Index kUnitsOfThread = 4;

  struct Range {
    Index begin, end;
  };
  // What a thread needs for its units.
  struct Room {
    Room(const ConvProduct& product, Index row_blocks, Index parts)
        : panel(product.panel_rows() * product.widest()),
          sums((row_blocks / parts + 1) * kSumRows * product.widest()) {}
    Scratch<Acc> panel, sums;
    Patches::Columns columns;
  };

  Index widest() const {
    Index most = 0;
    for (const ColumnTile& tile : tiles_) most = std::max(most, width_of(tile));
    return most;
  }
  Index width_of(const ColumnTile& tile) const { return block_width(tile.count, k_.lanes); }
  Index panel_rows() const {
    Index most = 0;
    for (const Part& group : groups_) {
      most = std::max(most, group.packed->rows().block_columns() + 1);
    }
    return most;
  }

  void multiply(const Part& group, Index first_channel, const ColumnTile& tile,
                const Range& row_blocks, Room& room) const {
    const BlockedRows& rows = group.packed->rows();
    const Index width = width_of(tile);
    patches_.describe(tile.first, tile.count, width, &room.columns);
    for (Index c = 0; c < rows.column_blocks(); ++c) {
      load(group, first_channel, c, width, room);
      for (Index b = row_blocks.begin; b < row_blocks.end; ++b) {
        Acc* const sums = room.sums.data() + (b - row_blocks.begin) * kSumRows * width;
        sweep(group, b, c, width, room.panel.data(), sums);
      }
    }
    bool fits = true;
    for (Index b = row_blocks.begin; b < row_blocks.end; ++b) {
      Acc* const sums = room.sums.data() + (b - row_blocks.begin) * kSumRows * width;
      const Index count = std::min(kBlockedRows, group.packed->shape().rows - b * kBlockedRows);
      fits &= write(sums, width, {first_channel + b * kBlockedRows, count}, tile);
    }
    require_fits(fits);
  }

  // The rows of the right side that a block of the weights' columns needs.
  void load(const Part& group, Index first_channel, Index column_block, Index width,
            Room& room) const {
    const PackedStructure& a = *group.packed;
    const Index height = a.rows().block_columns(), first = column_block * height;
    const Index group_channels = a.shape().cols / patches_.taps();
    ImageView channels = x_;
    channels.data = static_cast<std::byte*>(x_.data) + first_channel / a.shape().rows *
                                                           group_channels * x_.channel_stride *
                                                           item_size(x_.dtype);
    k_.load_patches({&channels, room.columns.runs.data(), std::ssize(room.columns.runs),
                     room.columns.taps.data(), patches_.taps(), patches_.step(), first,
                     std::min(height, a.shape().cols - first), room.panel.data(), width});
    if (a.has_zero_rows()) std::fill_n(room.panel.data() + height * width, width, Acc{0});
  }

  void sweep(const Part& group, Index row_block, Index column_block, Index width, const Acc* panel,
             Acc* sums) const {
    const PackedStructure& a = *group.packed;
    const BlockedRows::Block block = a.rows().block(row_block, column_block);
    BlockTile<Acc> tile{};
    tile.groups = block.groups;
    tile.counts = block.counts;
    tile.rows = block.rows;
    tile.values = group.values;
    tile.dtype = dtype_;
    tile.columns = tile.width = tile.sums_stride = width;
    tile.panel = panel;
    tile.sums = sums;
    tile.first = column_block == 0;
    k_.packed_sweep({tile, a.offsets(), a.start(row_block, column_block), a.has_zero_rows(),
                     picks_from_registers()});
  }

  // Channels [rows.begin, rows.begin + rows.end) of a tile of columns, to every image that it is
  // about.
  bool write(Acc* sums, Index width, const Range& rows, const ColumnTile& tile) const {
    bool fits = true;
    for (Index done = 0; done < tile.count;) {
      const Index part = (tile.first + done) / part_columns_;
      const Index column = (tile.first + done) % part_columns_;
      const Index count = std::min(tile.count - done, part_columns_ - column);
      LoadedEpilogue<Acc> epilogue = epilogue_.view();
      epilogue.residual = residual_.part(part);
      fits &= k_.write_out(sums + done, width, rows.begin, column, epilogue,
                           block_of(out_.part(part), rows.begin, rows.end, column, count));
      done += count;
    }
    return fits;
  }

  const Kernels<Acc>& k_;
  std::vector<Part> groups_;
  DType dtype_;
  ImageView x_;
  Patches patches_;
  EpilogueLoader<Acc> epilogue_;
  PixelColumns residual_, out_;
  std::vector<ColumnTile> tiles_;
  Index part_columns_;
};

std::shared_ptr<const CsrStructure> rows_of(const CsrStructure& a, Index begin, Index end,
                                            int threads) {
  std::vector<Index> ids(static_cast<std::size_t>(end - begin));
  std::iota(ids.begin(), ids.end(), begin);
  return gather_rows(a, ids, {}, threads).structure;
}

}  // namespace

ConvPlan::ConvPlan(const std::shared_ptr<const CsrStructure>& weights, const void* values,
                   DType dtype, const ConvGeometry& geometry, int threads)
    : shape_(shape_of(*weights)),
      dtype_(dtype),
      geometry_(geometry),
      longest_row_(sparsecore::longest_row(weights->view(nullptr, dtype).offsets)) {
  const Index rows = shape_.rows / geometry.groups;
  for (Index g = 0; g < geometry.groups; ++g) {
    const auto part =
        geometry.groups == 1 ? weights : rows_of(*weights, g * rows, (g + 1) * rows, threads);
    groups_.push_back(std::make_unique<const Group>(part, weights->offsets()[g * rows], threads));
  }
  if (geometry.groups != 1) weights_ = weights;
  update(values, threads);
}

void ConvPlan::update(const void* values, int threads) {
  const std::int64_t item = item_size(dtype_);
  auto fresh = std::make_shared<Values>();
  for (const auto& group : groups_) {
    fresh->emplace_back(group->packed.size() * item);
    group->packed.pack(static_cast<const std::byte*>(values) + group->first_entry * item, item,
                       fresh->back().data(), threads);
  }
  values_.store(std::move(fresh));
}

void ConvPlan::unpack(void* values, int threads) const {
  const std::int64_t item = item_size(dtype_);
  const std::shared_ptr<const Values> held = values_.load();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    groups_[g]->packed.unpack((*held)[g].data(), item,
                              static_cast<std::byte*>(values) + groups_[g]->first_entry * item,
                              threads);
  }
}

std::shared_ptr<const CsrStructure> ConvPlan::structure() const {
  return weights_ ? weights_ : groups_[0]->packed.csr(1);
}

std::int64_t ConvPlan::nbytes() const {
  std::int64_t bytes = weights_ ? weights_->nbytes() : 0;
  for (const auto& group : groups_) {
    bytes += group->packed.nbytes() + group->packed.size() * item_size(dtype_);
  }
  return bytes;
}

void ConvPlan::run(const ImageView& x, const ConvEpilogue& epilogue, const ImageView& out,
                   int threads) const {
  const std::shared_ptr<const Values> values = values_.load();
  with_accumulator(accumulator_for(dtype_, x.dtype, longest_row_), [&]<class Acc>(Acc) {
    std::vector<typename ConvProduct<Acc>::Part> parts;
    parts.reserve(groups_.size());
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      parts.push_back({&groups_[g]->packed, (*values)[g].data()});
    }
    const Planes<Acc> planes(kernels<Acc>(), x, geometry_, threads);
    ConvProduct<Acc>(std::move(parts), dtype_, geometry_, planes.view(), epilogue, out)
        .run(threads);
  });
}

}  // namespace sparsecore
