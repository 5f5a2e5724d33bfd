// What the plans share: choosing the accumulator's instantiation, panels, loaded epilogues.
//
// A product asks for its target's kernels once and passes them down: another thread may change the
// target meanwhile, and tile widths differ between targets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "../dispatch.h"
#include "../parallel.h"

namespace sparsecore {

// Rows of a product that are finished in cache before they are written out (16 fp32 values fill
// a cache line of a column-major result).
constexpr std::int64_t kBlockRows = 16;

// Calls body(Acc{}) for the accumulator type that a DType names.
template <class Body>
void with_accumulator(DType accumulator, Body&& body) {
  switch (accumulator) {
    case DType::kFloat64:
      return body(double{});
    case DType::kInt32:
      return body(std::int32_t{});
    default:
      return body(float{});
  }
}

// Uninitialised scratch, aligned to cache lines.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t size) {
    if (size == 0) return;
    data_.reset(
        static_cast<T*>(::operator new(static_cast<std::size_t>(size) * sizeof(T), kAlign)));
  }
  T* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<T, Free> data_;
};

inline MatrixView block_of(const MatrixView& m, std::int64_t row, std::int64_t rows,
                           std::int64_t col, std::int64_t cols) {
  auto* base = static_cast<std::byte*>(m.data);
  const std::int64_t offset = (row * m.row_stride + col * m.col_stride) * item_size(m.dtype);
  return {base + offset, m.dtype, rows, cols, m.row_stride, m.col_stride};
}

inline std::int64_t longest_row(const IndexView& offsets) {
  std::int64_t longest = 0;
  for (std::int64_t r = 0; r + 1 < offsets.size; ++r) {
    longest = std::max(longest, offsets[r + 1] - offsets[r]);
  }
  return longest;
}

// About how many nanoseconds one thread takes for a product of `entries` by n columns: an
// entry's own, a multiplication's, a row's and a result's.
inline double product_ns(std::int64_t entries, std::int64_t rows, std::int64_t n) {
  const auto columns = static_cast<double>(n);
  return static_cast<double>(entries) * (0.4 + 0.03 * columns) +
         static_cast<double>(rows) * (1 + 0.05 * columns);
}

// The same for a copy of so many items.
inline double copy_ns(std::int64_t items) { return 0.3 * static_cast<double>(items); }

// panel[r * panel_stride + j] = block[r][j], on several threads.
template <class Acc>
void load_panel_parallel(const Kernels<Acc>& k, const MatrixView& block, Acc* panel,
                         std::int64_t panel_stride, int threads) {
  const double ns = copy_ns(block.rows * block.cols);
  const int useful = useful_threads(threads, ns);
  parallel_for(
      block.rows, useful, ns, [&] { return even_bounds(block.rows, useful, ns); },
      [&](std::int64_t begin, std::int64_t end) {
        k.load_panel(block_of(block, begin, end - begin, 0, block.cols),
                     panel + begin * panel_stride, panel_stride);
      });
}

// Some columns of X at a time, in whole vectors.
struct ColumnTile {
  std::int64_t first, count;
  int vectors;
};

inline int vectors_of(std::int64_t columns, std::int64_t lanes) {
  return static_cast<int>((columns + lanes - 1) / lanes);
}

// Calls body(tile) for tiles of nearly equal width: 5 vectors are 3 + 2, not 4 + 1.
template <class Body>
void for_column_tiles(std::int64_t columns, std::int64_t lanes, std::int64_t most_vectors,
                      Body body) {
  const std::int64_t vectors = vectors_of(columns, lanes);
  const std::int64_t tiles = (vectors + most_vectors - 1) / most_vectors;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = vectors * t / tiles, end = vectors * (t + 1) / tiles;
    body(ColumnTile{begin * lanes, std::min(columns, end * lanes) - begin * lanes,
                    static_cast<int>(end - begin)});
  }
}

// Larger copies of X are made once for all threads: as many as there are threads would not stay in
// cache.
constexpr std::int64_t kOwnCopyBytes = std::int64_t{1} << 20;

// Copies of the columns of X that a tile is about, one for each thread: lines that one processor
// has written cost another more than a copy of its own. Large ones are shared where the product
// calls share().
template <class Acc>
class PanelCopies {
 public:
  PanelCopies(std::int64_t size, int threads, bool may_share = false)
      : size_((size + 63) / 64 * 64),
        is_shared_(may_share && size * std::int64_t{sizeof(Acc)} > kOwnCopyBytes),
        is_small_(size_ == 0 || (threads == 1 && size_ <= kSmall)),
        data_(is_small_ ? 0 : size_ * (is_shared_ ? 1 : threads)),
        loaded_(static_cast<std::size_t>(is_shared_ || is_small_ ? 0 : threads), -1) {}
  PanelCopies(const PanelCopies&) = delete;
  PanelCopies& operator=(const PanelCopies&) = delete;

  // Before the threads ask for the copy of a tile: makes the one that they share, if they do, by
  // load(room, begin, end) for parts of its `units`.
  template <class Load>
  void share(std::int64_t units, double ns, int threads, Load load) {
    if (!is_shared_) return;
    const int useful = useful_threads(threads, ns);
    parallel_for(even_bounds(units, useful, ns), useful,
                 [&](std::int64_t begin, std::int64_t end) { load(data_.data(), begin, end); });
  }

  // This thread's copy of the tile that begins with column `col`, made by load(room) at its first
  // use.
  template <class Load>
  const Acc* get(std::int64_t col, Load load) {
    if (is_shared_) return data_.data();
    const int thread = is_small_ ? 0 : this_thread();
    Acc* const own = data() + thread * size_;
    std::int64_t& loaded = is_small_ ? loaded_small_ : loaded_[static_cast<std::size_t>(thread)];
    if (std::exchange(loaded, col) != col) load(own);
    return own;
  }
  Acc* data() { return is_small_ ? small_ : data_.data(); }  // the first copy

 private:
  // A small copy for one thread needs no allocation, which takes about as long.
  static constexpr std::int64_t kSmall = 2048;

  std::int64_t size_;
  bool is_shared_, is_small_;
  Scratch<Acc> data_;
  std::vector<std::int64_t> loaded_;  // by thread, the `col` that its copy is of
  std::int64_t loaded_small_ = -1;
  alignas(64) Acc small_[kSmall];
};

// The epilogue's vectors in the accumulator type, owned for the time of a product.
template <class Acc>
class EpilogueLoader {
 public:
  EpilogueLoader(const Kernels<Acc>& k, const Epilogue& epilogue)
      : scale_(loaded(k, epilogue.scale)),
        bias_(loaded(k, epilogue.bias)),
        view_{scale_.empty() ? nullptr : scale_.data(), bias_.empty() ? nullptr : bias_.data(),
              epilogue.residual, epilogue.activation} {}
  const LoadedEpilogue<Acc>& view() const { return view_; }

 private:
  static std::vector<Acc> loaded(const Kernels<Acc>& k, const VectorView& v) {
    if (v.data == nullptr) return {};
    std::vector<Acc> values(static_cast<std::size_t>(v.size));
    const MatrixView column{const_cast<void*>(v.data), v.dtype, v.size, 1, v.stride, 1};
    k.load_panel(column, values.data(), 1);
    return values;
  }

  std::vector<Acc> scale_, bias_;
  LoadedEpilogue<Acc> view_;
};

inline void require_fits(bool fits) {
  if (!fits) throw std::overflow_error("a sum of int8 products does not fit int32");
}

}  // namespace sparsecore
