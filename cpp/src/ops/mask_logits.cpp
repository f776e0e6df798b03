#include "ops/mask_logits.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "ops/instruction_set.hpp"

namespace instseg {
namespace {

// Some cells of a window: they follow each other in the map as in the result.
struct Segment {
  std::int64_t first = 0;  // cell of the map
  int count = 0;
  std::size_t target = 0;  // in the result
};

// Calls visit(segment) for the window's part of the cells [begin, end).
template <class Visit>
void for_each_segment(const ProductWindow& window, std::int64_t begin, std::int64_t end, int width,
                      Visit&& visit) {
  const CellBounds& cells = window.cells;
  const std::int64_t last_row = std::min<std::int64_t>(cells.y.end - 1, (end - 1) / width);
  for (std::int64_t row = std::max<std::int64_t>(cells.y.begin, begin / width); row <= last_row;
       ++row) {
    const std::int64_t left = row * width + cells.x.begin;
    const std::int64_t first = std::max(begin, left);
    const std::int64_t last = std::min(end, row * width + cells.x.end);
    if (first < last) {
      visit(Segment{first, static_cast<int>(last - first),
                    window.offset + static_cast<std::size_t>(
                                        (row - cells.y.begin) * cells.x.size() + (first - left))});
    }
  }
}

struct CountAbove {
  [[gnu::always_inline]] static int run(const float* values, int count, float threshold) {
    int above = 0;
    for (int i = 0; i < count; ++i) {
      above += values[i] > threshold ? 1 : 0;
    }
    return above;
  }
};

// What a thread needs to make the product of a block of cells.
struct WindowBlock {
  std::vector<std::size_t> windows;  // that have cells in the block
  LeftMatrix left;
  RightBlock right;
  std::vector<float> tile;
};

// The cells [begin, end).
void multiply_block(std::span<const ProductWindow> windows, int depth, std::span<const float> right,
                    std::int64_t cells, int width, std::int64_t begin, std::int64_t end,
                    WindowBlock& block, std::span<float> out) {
  block.windows.clear();
  std::int64_t first = end;
  std::int64_t last = begin;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    bool any = false;
    for_each_segment(windows[i], begin, end, width, [&](const Segment& segment) {
      any = true;
      first = std::min(first, segment.first);
      last = std::max(last, segment.first + segment.count);
    });
    if (any) {
      block.windows.push_back(i);
    }
  }
  if (block.windows.empty()) {
    return;
  }
  block.left.resize(static_cast<int>(block.windows.size()), depth);
  for (std::size_t row = 0; row < block.windows.size(); ++row) {
    block.left.set_row(static_cast<int>(row), windows[block.windows[row]].left);
  }
  block.right.pack(right.data() + first, cells, depth, static_cast<int>(last - first));
  constexpr int kGroup = LeftMatrix::kRowGroup;
  block.tile.resize(std::size_t{kGroup} * kProductColumns);
  for (int row = 0; row < block.left.rows(); ++row) {
    if (row % kGroup == 0) {
      multiply_rows(block.left, row / kGroup, block.right, block.tile.data(), kProductColumns);
    }
    const float* const values = block.tile.data() + std::ptrdiff_t{row % kGroup} * kProductColumns;
    for_each_segment(windows[block.windows[static_cast<std::size_t>(row)]], begin, end, width,
                     [&](const Segment& segment) {
                       std::copy_n(values + (segment.first - first), segment.count,
                                   out.data() + segment.target);
                     });
  }
}

}  // namespace

void multiply(const LeftMatrix& left, std::span<const float> right, int columns, ThreadPool& pool,
              std::span<float> out) {
  for_each_product(left, right, columns, pool,
                   [&](int row, int first, std::span<const float> values) {
                     std::ranges::copy(values, out.data() + std::ptrdiff_t{row} * columns + first);
                   });
}

void multiply_windows(std::span<const ProductWindow> windows, int depth,
                      std::span<const float> right, int height, int width, ThreadPool& pool,
                      std::span<float> out) {
  const std::int64_t cells = std::int64_t{height} * width;
  pool.parallel_for(0, cells, kProductColumns, [&](std::int64_t begin, std::int64_t end) {
    thread_local WindowBlock block;
    multiply_block(windows, depth, right, cells, width, begin, end, block, out);
  });
}

CellBounds bounds_of_bits(std::span<const std::uint64_t> words, int width) {
  CellBounds bounds{{width, 0}, {0, 0}};
  std::int64_t begin = 0;  // cell of the word's first bit
  for (std::uint64_t rest : words) {
    while (rest != 0) {  // row by row
      const std::int64_t first = begin + std::countr_zero(rest);
      const std::int64_t row = first / width;
      const std::int64_t bits = (row + 1) * width - begin;  // of the word, up to the row's end
      const std::uint64_t set = bits < 64 ? rest & ((std::uint64_t{1} << bits) - 1) : rest;
      const std::int64_t last = begin + 63 - std::countl_zero(set);
      bounds.x = {std::min(bounds.x.begin, static_cast<int>(first - row * width)),
                  std::max(bounds.x.end, static_cast<int>(last - row * width) + 1)};
      bounds.y = {bounds.y.end == 0 ? static_cast<int>(row) : bounds.y.begin,
                  static_cast<int>(row) + 1};
      rest &= ~set;
    }
    begin += 64;
  }
  return bounds;
}

CellBounds bounds_above(std::span<const float> cells, int height, int width, float threshold) {
  CellBounds bounds{{width, 0}, {height, 0}};
  for (int y = 0; y < height; ++y) {
    const float* const row = cells.data() + std::ptrdiff_t{y} * width;
    if (run_kernel<CountAbove>(row, width, threshold) == 0) {
      continue;
    }
    int left = 0;
    while (!(row[left] > threshold)) {
      ++left;
    }
    int right = width;
    while (!(row[right - 1] > threshold)) {
      --right;
    }
    bounds.x = {std::min(bounds.x.begin, left), std::max(bounds.x.end, right)};
    bounds.y = {std::min(bounds.y.begin, y), y + 1};
  }
  return bounds;
}

}  // namespace instseg
