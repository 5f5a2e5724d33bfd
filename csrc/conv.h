// A convolution with sparse weights, made ready for many images.
//
// The weights are a CSR matrix: output channels by input channels of a group times taps, in the
// order of torch's weight. They are multiplied with the convolution's right side, of which either a
// tile of columns is copied, block by block of rows, for the first-level cache (patches.h), or
// planes that many rows share are made for the second-level cache (tap_planes.h). Where a group has
// one input channel, the image itself is that side (depthwise.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "epilogue.h"
#include "formats.h"
#include "image.h"
#include "packed.h"
#include "pages.h"
#include "plan.h"
#include "tap_planes.h"

namespace sparsecore {

// What happens to sums before they are the result; `residual.data == nullptr`: absent.
struct ConvEpilogue {
  VectorView scale;
  VectorView bias;
  ImageView residual;
  Activation activation = Activation::kNone;
};

// The packed entries of each group as products by planes (plans/conv_planes.h) find them: in
// elements, from the first plane of the channel in which their column block begins.
struct PlaneOffsets {
  std::int64_t stride, width;  // of the planes
  std::vector<Pages<std::uint16_t>> groups;
};

struct TapMajor;  // plans/conv_depthwise_rows.h

class ConvPlan {
 public:
  // The weights fit the geometry.
  ConvPlan(const std::shared_ptr<const CsrStructure>& weights, const void* values, DType dtype,
           const ConvGeometry& geometry, int threads);

  // out = epilogue(weights * x). The arguments agree already (see ops.h).
  // `of_images`: of how many images the result would be if these were not only some of them.
  void run(const ImageView& x, const ConvEpilogue& epilogue, const ImageView& out, int threads,
           std::int64_t of_images) const;

  // As a Plan's.
  void update(const void* values, int threads);
  void unpack(void* values, int threads) const;

  const ConvGeometry& geometry() const { return geometry_; }
  PlanShape shape() const { return shape_; }
  std::int64_t in_channels() const { return shape_.cols / geometry_.taps() * geometry_.groups; }
  DType dtype() const { return dtype_; }
  std::int64_t longest_row() const { return longest_row_; }
  std::int64_t nbytes() const;
  std::string_view kernel() const { return sums_taps() ? "depthwise" : "packed_patches"; }
  std::shared_ptr<const CsrStructure> structure() const;

  // A group of output channels.
  struct Group {
    Group(const std::shared_ptr<const CsrStructure>& csr, std::int64_t first, int threads)
        : packed(csr, -1, threads), first_entry(first) {}
    PackedStructure packed;
    std::int64_t first_entry;  // of its values, in CSR order
  };

 private:
  struct Values {
    std::vector<Pages<std::byte>> parts;  // by groups; or one, in CSR order
    std::shared_ptr<const TapMajor> tap_major;
  };

  template <class Acc>
  void run_as(const Values& values, const ImageView& x, const ConvEpilogue& epilogue,
              const ImageView& out, int threads, std::int64_t of_images) const;
  bool fit(const TapPlanes& planes) const;
  std::shared_ptr<const PlaneOffsets> offsets_of(const TapPlanes& planes, int threads) const;

  bool sums_taps() const { return groups_.empty(); }

  std::shared_ptr<const CsrStructure> weights_;  // where there are several groups, or none packed
  PlanShape shape_;
  DType dtype_;
  ConvGeometry geometry_;
  std::int64_t longest_row_;
  std::vector<std::unique_ptr<const Group>> groups_;  // none where taps are summed
  std::atomic<std::shared_ptr<const Values>> values_;
  mutable std::atomic<std::shared_ptr<const PlaneOffsets>> offsets_;  // of the images met last
};

// Throws std::invalid_argument where weights of this shape do not fit.
void check_geometry(std::string_view name, const ConvGeometry& geometry, const PlanShape& weights);

// What a convolution is told besides its plan. `name` starts error messages.
struct ConvCall {
  ImageView x;
  ConvEpilogue epilogue;
  ImageView out;  // its pixels, and the residual's, lie evenly: row by row, without a gap
  int threads = 1;
  std::string_view name;
  // Where these are some of more images: how many all are. The result has their bits, then.
  std::int64_t of_images = 0;
};

// images x channels x height x width of the result; throws where x does not fit.
std::array<std::int64_t, 4> conv_shape(std::string_view name, const ConvPlan& plan,
                                       const ImageView& x);

// Do the arguments agree? Then run. (That nothing overlaps `out` is the caller's to know.)
void conv2d(const ConvPlan& plan, const ConvCall& call);

}  // namespace sparsecore
