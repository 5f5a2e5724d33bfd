#include "../conv.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

#include "../choose.h"
#include "../gather_rows.h"
#include "channels_apart.h"
#include "conv_depthwise.h"
#include "conv_depthwise_rows.h"
#include "conv_patches.h"
#include "conv_planes.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::shared_ptr<const CsrStructure> rows_of(const CsrStructure& a, Index begin, Index end,
                                            int threads) {
  std::vector<Index> ids(static_cast<std::size_t>(end - begin));
  std::iota(ids.begin(), ids.end(), begin);
  return gather_rows(a, ids, {}, threads).structure;
}

// The offsets of packed entries (`places`: of each tap, from its channel's first plane).
Pages<std::uint16_t> in_planes(const PackedStructure& a, const std::vector<Index>& places,
                               Index channel_size, int threads) {
  const Index taps = std::ssize(places), height = a.rows().block_columns();
  const Index column_blocks = a.rows().column_blocks();
  Pages<std::uint16_t> result(a.size());
  const auto blocks = [&](Index begin, Index end) {
    std::vector<std::uint16_t> of_column(static_cast<std::size_t>(height + 1));
    for (Index c = begin; c < end; ++c) {
      const Index first = c * height, first_channel = first / taps;
      for (Index k = 0; k < std::min(height, a.shape().cols - first); ++k) {
        of_column[static_cast<std::size_t>(k)] =
            static_cast<std::uint16_t>(((first + k) / taps - first_channel) * channel_size +
                                       places[static_cast<std::size_t>((first + k) % taps)]);
      }
      of_column.back() = 0;  // padding, which is worth zero wherever it points
      for (Index b = 0; b < a.rows().row_blocks(); ++b) {
        for (Index e = a.start(b, c); e < a.start(b, c) + a.entries(b, c); ++e) {
          result[e] = of_column[static_cast<std::size_t>(a.offsets()[e] / kOffsetOfColumn)];
        }
      }
    }
  };
  const double ns = static_cast<double>(a.size());
  const int useful = useful_threads(threads, ns);
  parallel_for(even_bounds(column_blocks, useful, ns), useful, blocks);
  return result;
}

}  // namespace

ConvPlan::ConvPlan(const std::shared_ptr<const CsrStructure>& weights, const void* values,
                   DType dtype, const ConvGeometry& geometry, int threads)
    : shape_(shape_of(*weights)),
      dtype_(dtype),
      geometry_(geometry),
      longest_row_(sparsecore::longest_row(weights->view(nullptr, dtype).offsets)) {
  if (pays_to_sum_taps(geometry, shape_.rows, shape_.cols)) {
    weights_ = weights;
    update(values, threads);
    return;
  }
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
  if (sums_taps()) {
    fresh->parts.emplace_back(shape_.nnz * item);
    std::copy_n(static_cast<const std::byte*>(values), shape_.nnz * item,
                fresh->parts.back().data());
    if (dtype_ == DType::kFloat32 && shape_.rows == geometry_.groups) {
      fresh->tap_major =
          std::make_shared<const TapMajor>(weights_->view(values, dtype_), geometry_.taps());
    }
  }
  for (const auto& group : groups_) {
    fresh->parts.emplace_back(group->packed.size() * item);
    group->packed.pack(static_cast<const std::byte*>(values) + group->first_entry * item, item,
                       fresh->parts.back().data(), threads);
  }
  values_.store(std::move(fresh));
}

void ConvPlan::unpack(void* values, int threads) const {
  const std::int64_t item = item_size(dtype_);
  const std::shared_ptr<const Values> held = values_.load();
  if (sums_taps()) {
    std::copy_n(held->parts[0].data(), shape_.nnz * item, static_cast<std::byte*>(values));
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    groups_[g]->packed.unpack(held->parts[g].data(), item,
                              static_cast<std::byte*>(values) + groups_[g]->first_entry * item,
                              threads);
  }
}

std::shared_ptr<const CsrStructure> ConvPlan::structure() const {
  return weights_ ? weights_ : groups_[0]->packed.csr(1);
}

std::int64_t ConvPlan::nbytes() const {
  std::int64_t bytes = weights_ ? weights_->nbytes() : 0;
  if (sums_taps()) {
    bytes += shape_.nnz * item_size(dtype_);
    const std::shared_ptr<const Values> held = values_.load();
    if (held->tap_major) bytes += held->tap_major->nbytes(geometry_.taps());
  }
  for (const auto& group : groups_) {
    bytes += group->packed.nbytes() + group->packed.size() * item_size(dtype_);
  }
  if (const std::shared_ptr<const PlaneOffsets> held = offsets_.load()) {
    for (const auto& group : groups_) bytes += group->packed.size() * Index{sizeof(std::uint16_t)};
  }
  return bytes;
}

// Offsets must hold what a column block of the weights spans; padding reads the first plane.
bool ConvPlan::fit(const TapPlanes& planes) const {
  const Index taps = geometry_.taps();
  const Index channels = (groups_[0]->packed.rows().block_columns() + taps - 2) / taps + 1;
  return shape_.cols > 0 && channels * planes.channel_size() <= UINT16_MAX;
}

std::shared_ptr<const PlaneOffsets> ConvPlan::offsets_of(const TapPlanes& planes,
                                                         int threads) const {
  std::shared_ptr<const PlaneOffsets> held = offsets_.load();
  if (held && held->stride == planes.stride() && held->width == planes.width()) return held;
  std::vector<Index> places;
  places.reserve(static_cast<std::size_t>(geometry_.taps()));
  for (Index t = 0; t < geometry_.taps(); ++t) places.push_back(planes.place(t));
  auto made = std::make_shared<PlaneOffsets>(planes.stride(), planes.width());
  for (const auto& group : groups_) {
    made->groups.push_back(in_planes(group->packed, places, planes.channel_size(), threads));
  }
  offsets_.store(made);
  return made;
}

template <class Acc>
void ConvPlan::run_as(const Values& values, const ImageView& x, const ConvEpilogue& epilogue,
                      const ImageView& out, int threads, Index of_images) const {
  if constexpr (std::is_same_v<Acc, float>) {
    if (values.tap_major && DepthwiseRows::take(kernels<float>(), x, epilogue, out)) {
      return DepthwiseRows(*values.tap_major, geometry_, x, epilogue, out).run(threads);
    }
  }
  const ChannelsApart<Acc> apart(kernels<Acc>(), x, geometry_, threads);
  if (sums_taps()) {
    const CsrView view = weights_->view(nullptr, dtype_);
    assert(view.columns.width == 1);  // as there are 256 columns at most
    const DepthwiseWeights weights{view.offsets,
                                   static_cast<const std::uint8_t*>(view.columns.data),
                                   values.parts[0].data(),
                                   dtype_,
                                   shape_.rows,
                                   shape_.rows / geometry_.groups};
    return DepthwiseProduct<Acc>(weights, geometry_, apart.view(), epilogue, out).run(threads);
  }
  std::vector<ConvGroup> groups;
  groups.reserve(groups_.size());
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    groups.push_back({&groups_[g]->packed, values.parts[g].data()});
  }
  const PackedStructure& first = groups_[0]->packed;
  const TapPlanes planes(geometry_, x.height, x.width, first.shape().cols / geometry_.taps(),
                         sizeof(Acc));
  if (fit(planes) && pays_to_make_planes(geometry_.taps(), planes.copied(), planes.width(),
                                         kernels<Acc>().lanes)) {
    const std::shared_ptr<const PlaneOffsets> offsets = offsets_of(planes, threads);
    return PlaneProduct<Acc>(std::move(groups), dtype_, geometry_, planes, *offsets, apart.view(),
                             epilogue, out)
        .run(threads);
  }
  PatchProduct<Acc>(std::move(groups), dtype_, geometry_, apart.view(), epilogue, out, of_images)
      .run(threads);
}

void ConvPlan::run(const ImageView& x, const ConvEpilogue& epilogue, const ImageView& out,
                   int threads, Index of_images) const {
  const std::shared_ptr<const Values> values = values_.load();
  with_accumulator(accumulator_for(dtype_, x.dtype, longest_row_), [&]<class Acc>(Acc) {
    run_as<Acc>(*values, x, epilogue, out, threads, of_images);
  });
}

}  // namespace sparsecore
