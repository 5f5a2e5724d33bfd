// Matrices in the order of fragments: which way their places are told; and X in that order.
#include "bitmap.h"
#include "deltas.h"
#include "strips.h"

namespace sparsecore::cuda {
namespace {

template <class T>
__global__ void to_fragments(MatrixView x, int tiles, std::int64_t fragments, std::uint32_t* words,
                             std::uint32_t* is_special) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= fragments * tiles * kWarp) return;
  const int lane = static_cast<int>(i % kWarp);
  const std::int64_t tile = i / kWarp % tiles, fragment = i / kWarp / tiles;
  const std::int64_t column = tile * 8 + lane / 4;
  bool special = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t word = 0;
#pragma unroll
    for (int item = 0; item < 2; ++item) {
      const std::int64_t row = fragment * kFragmentColumns + half * 8 + lane % 4 * 2 + item;
      if (row >= x.rows || column >= x.cols) continue;
      const T v = static_cast<const T*>(x.data)[row * x.row_stride + column * x.col_stride];
      special |= !std::isfinite(widened<float>(v));
      word |= static_cast<std::uint32_t>(v.bits) << (16 * item);
    }
    words[2 * i + half] = word;
  }
  if (special) atomicOr(is_special, 1u);
}

MatrixView columns_of(const MatrixView& m, std::int64_t first, std::int64_t count) {
  MatrixView part = m;
  if (m.data == nullptr) return part;
  part.data = static_cast<char*>(m.data) + first * m.col_stride * item_size(m.dtype);
  part.cols = count;
  return part;
}

// Up to kMostStripColumns columns.
void product_of_few(const StripView& a, StripOperands operands, Memory& memory, Stream stream) {
  const std::int64_t fragments = a.blocks() * a.fragments();
  const std::int64_t lanes = fragments * operands.tiles() * kWarp;
  auto* words = memory.take_items<std::uint32_t>(2 * lanes);
  auto* is_special = memory.take_items<std::uint32_t>(1);
  check(cudaMemsetAsync(is_special, 0, 4, stream), "clearing");
  const Grid grid{blocks_for(lanes, 256), 1, 256};
  with_type_and_tiles(operands, [&](auto zero, auto) {
    launch("csr_matmul", to_fragments<decltype(zero)>, grid, stream, operands.x, operands.tiles(),
           fragments, words, is_special);
  });
  operands.words = words;
  operands.is_special = is_special;
  if (a.form == StripForm::kBitmap) return bitmap_product(a, operands, stream);
  delta_product(a, operands, stream);
}

void move(const CsrView& a, const StripView& strips, const StripMove& moved, Memory& memory,
          Stream stream) {
  if (strips.form == StripForm::kBitmap)
    return move_bitmap_values(a, strips, moved, memory, stream);
  move_delta_values(a, strips, moved, memory, stream);
}

}  // namespace

StripView strips_of(const CsrView& a, StripForm form, Memory& memory, Stream stream) {
  return form == StripForm::kBitmap ? bitmap_of(a, memory, stream)
                                    : deltas_of(a, form, memory, stream);
}

void place_strip_values(const CsrView& a, const StripView& strips, void* strip_values,
                        Memory& memory, Stream stream) {
  const auto* from = static_cast<const std::uint16_t*>(a.values);
  move(a, strips,
       {const_cast<std::uint16_t*>(from), static_cast<std::uint16_t*>(strip_values), false}, memory,
       stream);
}

void unpack_strip_values(const CsrView& a, const StripView& strips, void* csr_values,
                         Memory& memory, Stream stream) {
  const auto* from = static_cast<const std::uint16_t*>(strips.values);
  move(a, strips, {static_cast<std::uint16_t*>(csr_values), const_cast<std::uint16_t*>(from), true},
       memory, stream);
}

void strip_product(const StripView& a, const MatrixView& x, const Epilogue& epilogue,
                   const MatrixView& out, Memory& memory, Stream stream) {
  for (std::int64_t first = 0; first < x.cols; first += kMostStripColumns) {
    const std::int64_t left = x.cols - first;
    const std::int64_t count = left < kMostStripColumns ? left : kMostStripColumns;
    StripOperands operands{columns_of(x, first, count), columns_of(out, first, count), epilogue,
                           nullptr, nullptr};
    operands.epilogue.residual = columns_of(epilogue.residual, first, count);
    product_of_few(a, operands, memory, stream);
  }
}

}  // namespace sparsecore::cuda
