// From rows of cells to the bits of a mask: interpolation, comparison, packing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "instseg/mask.hpp"
#include "ops/bilinear.hpp"

namespace instseg {

// Part of an axis: taps [pixels.begin - offset, pixels.end - offset) and the cells that they read.
struct AxisWindow {
  const AxisTaps* taps = nullptr;
  int offset = 0;  // the image pixel of the first tap
  Interval pixels;
  Interval cells;
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct RenderScratch {
  std::vector<float> cells;    // one row of the window, and two more
  std::vector<float> columns;  // window rows, and two more, x crop columns in whole words
};

// out[i] = the interpolated value of pixel x.pixels.begin + i; `cells` starts at x.cells.begin.
void interpolate_columns(const float* cells, const AxisWindow& x, float* out);

// Blends three rows of 32 * words values, compares (value > threshold) and packs.
void pack_row(const float* r0, const float* r1, const float* r2,
              const std::array<float, 3>& weights, float threshold, int words, std::uint32_t* out);

// The mask whose pixels are the interpolated cells > threshold; its crop are the windows' pixels.
// `fill(row, out)` writes x.cells.size() values, none of them infinite or NaN: the cells from
// x.cells.begin of that row.
template <class Fill>
PackedMask render_mask(const AxisWindow& x, const AxisWindow& y, float threshold,
                       RenderScratch& scratch, Fill&& fill) {
  if (x.pixels.size() == 0 || y.pixels.size() == 0) {
    return {};
  }
  // Two cells, and two rows, more than the window: where the weights of a pixel's last cells are
  // zero, they may stand out. Columns are padded to whole words.
  const int words = (x.pixels.size() + 31) / 32;
  const std::ptrdiff_t row_stride = std::ptrdiff_t{words} * 32;
  scratch.cells.assign(static_cast<std::size_t>(x.cells.size()) + 2, 0.0F);
  scratch.columns.assign(
      static_cast<std::size_t>(row_stride) * (static_cast<std::size_t>(y.cells.size()) + 2), 0.0F);
  for (int row = 0; row < y.cells.size(); ++row) {
    fill(y.cells.begin + row, scratch.cells.data());
    interpolate_columns(scratch.cells.data(), x, scratch.columns.data() + row * row_stride);
  }

  std::vector<std::uint32_t> bits(static_cast<std::size_t>(words) *
                                  static_cast<std::size_t>(y.pixels.size()));
  // A threshold below zero would set the padding.
  const std::uint32_t last_word =
      x.pixels.size() % 32 == 0 ? ~0U : (std::uint32_t{1} << (x.pixels.size() % 32)) - 1;
  for (int row = 0; row < y.pixels.size(); ++row) {
    const auto at = static_cast<std::size_t>(y.pixels.begin + row - y.offset);
    const float* columns =
        scratch.columns.data() + (y.taps->first[at] - y.cells.begin) * row_stride;
    std::uint32_t* out = bits.data() + std::ptrdiff_t{row} * words;
    pack_row(columns, columns + row_stride, columns + 2 * row_stride,
             {y.taps->w0[at], y.taps->w1[at], y.taps->w2[at]}, threshold, words, out);
    out[words - 1] &= last_word;
  }
  return PackedMask(x.pixels.begin, y.pixels.begin, x.pixels.size(), y.pixels.size(),
                    std::move(bits));
}

// The part of a whole axis (taps of all pixels from 0 on) whose pixels read a cell of `cells`.
AxisWindow narrow(const AxisTaps& taps, int pixels, const Interval& cells);

// The same set pixels with the smallest crop; 0 x 0 where none is set.
PackedMask crop_to_bounds(const PackedMask& mask);

}  // namespace instseg
