#include "block_permute.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

#include "parallel.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

constexpr double kPackNanoseconds = 2;  // an entry
constexpr Index kGroupsOfBlock = BlockPermuteStructure::kRows / kChunkRows;
constexpr Index kWidestGather = 65535;  // the last field is for padding

// Gathered windows of nearly equal widths.
Index window_of(ChunkForm form, Index cols) {
  if (form != ChunkForm::kGathered) return permuted_padding(form);
  const Index windows = std::max<Index>(1, (cols + kWidestGather - 1) / kWidestGather);
  return std::max<Index>(1, (cols + windows - 1) / windows);
}

// The code of a row without entries in a chunk, and with its first `n` fields left for entries.
std::uint32_t padding_from(ChunkForm form, std::uint32_t field, int n) {
  std::uint32_t code = 0;
  for (int s = n; s < chunk_steps(form); ++s) code |= encode(form, s, field);
  return code;
}

}  // namespace

// A group's rows as ranges of CSR entries; empty where there is no row.
struct BlockPermuteStructure::Group {
  std::array<Index, kChunkRows> next{}, end{};
};

// A row block's chunks, and how many each group has.
struct BlockPermuteStructure::Chunks {
  std::vector<std::uint32_t> bases, codes;
  std::array<Index, kGroupsOfBlock> counts{};
};

BlockPermuteStructure::BlockPermuteStructure(std::shared_ptr<const CsrStructure> csr,
                                             ChunkForm form, int threads)
    : csr_(std::move(csr)), form_(form), window_(window_of(form, csr_->cols())) {
  const Index group_count = (csr_->rows() + kChunkRows - 1) / kChunkRows;
  const Index blocks = (csr_->rows() + kRows - 1) / kRows;
  rows_.resize(at(group_count * kChunkRows));
  group_starts_.assign(at(group_count) + 1, 0);
  block_starts_.assign(at(blocks) + 1, 0);
  std::vector<Chunks> parts(at(blocks));
  const double ns = kPackNanoseconds * static_cast<double>(csr_->nnz());
  const int useful = useful_threads(threads, ns);
  const Bounds bounds = even_bounds(blocks, useful, ns);
  parallel_for(bounds, useful, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      sort_rows(b);
      parts[at(b)] = cut(b);
    }
  });
  for (Index g = 0; g < group_count; ++g) {
    const Chunks& part = parts[at(g / kGroupsOfBlock)];
    group_starts_[at(g) + 1] = group_starts_[at(g)] + part.counts[at(g % kGroupsOfBlock)];
    block_starts_[at(g / kGroupsOfBlock) + 1] = group_starts_[at(g) + 1];
  }
  bases_ = Pages<std::uint32_t>(chunks());
  codes_ = Pages<std::uint32_t>(chunks() * kChunkRows);
  parallel_for(bounds, useful, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      const Chunks part = std::move(parts[at(b)]);
      std::copy(part.bases.begin(), part.bases.end(), &bases_[block_starts_[at(b)]]);
      std::copy(part.codes.begin(), part.codes.end(), &codes_[block_starts_[at(b)] * kChunkRows]);
    }
  });
}

BlockPermuteStructure::Block BlockPermuteStructure::block(Index row_block) const {
  const Index first = row_block * kGroupsOfBlock;
  const Index count = std::min(kGroupsOfBlock, groups() - first);
  return {std::span(group_starts_).subspan(at(first), at(count) + 1),
          rows_.data() + first * kChunkRows};
}

Index BlockPermuteStructure::nbytes() const {
  return chunks() * Index{(1 + kChunkRows) * sizeof(std::uint32_t)} + std::ssize(rows_) +
         static_cast<Index>((group_starts_.size() + block_starts_.size()) * sizeof(Index));
}

Index BlockPermuteStructure::copy_length() const {
  if (form_ != ChunkForm::kGathered) return csr_->cols() + window_;
  return (csr_->cols() + window_ - 1) / window_ * (window_ + 1);
}

// Longest first, ties by row.
void BlockPermuteStructure::sort_rows(Index row_block) {
  const Index first_row = row_block * kRows;
  const Index rows = std::min(kRows, csr_->rows() - first_row);
  std::array<Index, kRows> lengths{};
  for (Index r = 0; r < rows; ++r) {
    lengths[at(r)] = csr_->offsets()[first_row + r + 1] - csr_->offsets()[first_row + r];
  }
  const std::span<std::uint8_t> order = std::span(rows_).subspan(
      at(first_row), at((rows + kChunkRows - 1) / kChunkRows * kChunkRows));
  std::iota(order.begin(), order.end(), std::uint8_t{0});
  for (Index lane = rows; lane < std::ssize(order); ++lane) {
    order[at(lane)] = static_cast<std::uint8_t>(kRows + lane % kChunkRows);
  }
  std::stable_sort(order.begin(), order.begin() + rows,
                   [&](std::uint8_t a, std::uint8_t b) { return lengths[a] > lengths[b]; });
}

BlockPermuteStructure::Group BlockPermuteStructure::entries_of(Index group) const {
  Group result;
  const Index first_row = group / kGroupsOfBlock * kRows;
  for (Index lane = 0; lane < kChunkRows; ++lane) {
    const Index row = rows_[at(group * kChunkRows + lane)];
    if (row >= kRows) continue;
    result.next[at(lane)] = csr_->offsets()[first_row + row];
    result.end[at(lane)] = csr_->offsets()[first_row + row + 1];
  }
  return result;
}

BlockPermuteStructure::Chunks BlockPermuteStructure::cut(Index row_block) {
  constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  const int steps = chunk_steps(form_);
  const auto padding = static_cast<std::uint32_t>(window_);
  std::array<std::uint32_t, 8> padded{};
  for (int n = 0; n <= steps; ++n) padded[at(n)] = padding_from(form_, padding, n);
  Chunks result;
  const Index first = row_block * kGroupsOfBlock;
  with_indices(csr_->columns(), [&](const auto* columns) {
    for (Index g = first; g < std::min(first + kGroupsOfBlock, groups()); ++g) {
      Group group = entries_of(g);
      std::array<std::uint64_t, kChunkRows> column{};  // each row's next
      for (std::size_t i = 0; i < kChunkRows; ++i) {
        column[i] = group.next[i] < group.end[i] ? columns[group.next[i]] : kNone;
      }
      for (;;) {
        std::uint64_t base = *std::min_element(column.begin(), column.end());
        if (base == kNone) break;
        if (form_ == ChunkForm::kGathered) base -= base % padding;
        if (form_ == ChunkForm::kPermutedWide) base -= base % kChunkRows;
        const std::uint64_t limit = base + padding;
        result.bases.push_back(static_cast<std::uint32_t>(position(static_cast<Index>(base))));
        for (std::size_t i = 0; i < kChunkRows; ++i) {
          std::uint32_t code = 0;
          int s = 0;
          for (; s < steps && column[i] < limit; ++s) {
            code |= encode(form_, s, static_cast<std::uint32_t>(column[i] - base));
            const Index p = ++group.next[i];
            column[i] = p < group.end[i] ? columns[p] : kNone;
          }
          result.codes.push_back(code | padded[at(s)]);
        }
        ++result.counts[at(g - first)];
      }
    }
  });
  return result;
}

template <class Body>
void BlockPermuteStructure::for_each_entry(Index row_block, Body body) const {
  const int steps = chunk_steps(form_);
  const auto padding = static_cast<std::uint32_t>(window_);
  const Index first = row_block * kGroupsOfBlock;
  for (Index g = first; g < std::min(first + kGroupsOfBlock, groups()); ++g) {
    Group group = entries_of(g);
    for (Index c = group_starts_[at(g)]; c < group_starts_[at(g) + 1]; ++c) {
      for (Index i = 0; i < kChunkRows; ++i) {
        const std::uint32_t code = codes_[c * kChunkRows + i];
        for (int s = 0; s < steps && decode(form_, s, code) != padding; ++s) {
          body((c * steps + s) * kChunkRows + i, group.next[at(i)]++);
        }
      }
    }
  }
}

void BlockPermuteStructure::pack(const void* csr_values, Index item_size, void* slots,
                                 int threads) const {
  const double ns = kPackNanoseconds * static_cast<double>(size());
  const int useful = useful_threads(threads, ns);
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* from = static_cast<const Bits*>(csr_values);
    auto* to = static_cast<Bits*>(slots);
    parallel_for(even_bounds(row_blocks(), useful, ns), useful, [&](Index begin, Index end) {
      const Index slots_of_chunk = chunk_steps(form_) * kChunkRows;
      std::fill(to + block_starts_[at(begin)] * slots_of_chunk,
                to + block_starts_[at(end)] * slots_of_chunk, Bits{0});
      for (Index b = begin; b < end; ++b) {
        for_each_entry(b, [&](Index slot, Index p) { to[slot] = from[p]; });
      }
    });
  });
}

void BlockPermuteStructure::unpack(const void* slots, Index item_size, void* csr_values) const {
  with_item_size(item_size, [&]<class Bits>(Bits) {
    const auto* from = static_cast<const Bits*>(slots);
    auto* to = static_cast<Bits*>(csr_values);
    for (Index b = 0; b < row_blocks(); ++b) {
      for_each_entry(b, [&](Index slot, Index p) { to[p] = from[slot]; });
    }
  });
}

}  // namespace sparsecore
