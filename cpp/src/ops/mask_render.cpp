#include "ops/mask_render.hpp"

#include <algorithm>

#include "ops/bit_matrix.hpp"
#include "ops/instruction_set.hpp"

namespace instseg {
namespace {

// The last cell that pixel i reads.
int last_cell(const AxisTaps& taps, std::size_t i) {
  return taps.first[i] + (taps.w2[i] > 0.0F ? 2 : taps.w1[i] > 0.0F ? 1 : 0);
}

struct InterpolateColumns {
  [[gnu::always_inline]] static void run(const float* __restrict cells, const AxisWindow* window,
                                         float* __restrict out) {
    const AxisWindow& x = *window;
    const std::ptrdiff_t from = x.pixels.begin - x.offset;
    const int* __restrict first = x.taps->first.data() + from;
    const float* __restrict w0 = x.taps->w0.data() + from;
    const float* __restrict w1 = x.taps->w1.data() + from;
    const float* __restrict w2 = x.taps->w2.data() + from;
    const int count = x.pixels.size();
    const int origin = x.cells.begin;
    for (int i = 0; i < count; ++i) {
      const float* cell = cells + (first[i] - origin);
      out[i] = w0[i] * cell[0] + w1[i] * cell[1] + w2[i] * cell[2];
    }
  }
};

struct PackRow {
  [[gnu::always_inline]] static void run(const float* __restrict r0, const float* __restrict r1,
                                         const float* __restrict r2, float w0, float w1, float w2,
                                         float threshold, int words,
                                         std::uint32_t* __restrict out) {
    for (int word = 0; word < words; ++word, r0 += 32, r1 += 32, r2 += 32) {
      out[word] = pack_word(
          [&](std::size_t i) { return w0 * r0[i] + w1 * r1[i] + w2 * r2[i] > threshold; });
    }
  }
};

}  // namespace

void interpolate_columns(const float* cells, const AxisWindow& x, float* out) {
  run_kernel<InterpolateColumns>(cells, &x, out);
}

void pack_row(const float* r0, const float* r1, const float* r2,
              const std::array<float, 3>& weights, float threshold, int words, std::uint32_t* out) {
  run_kernel<PackRow>(r0, r1, r2, weights[0], weights[1], weights[2], threshold, words, out);
}

AxisWindow narrow(const AxisTaps& taps, int pixels, const Interval& cells) {
  AxisWindow window{&taps, 0, {0, pixels}, {}};
  if (cells.size() == 0) {
    window.pixels = {};
    return window;
  }
  // Both the first and the last cell that a pixel reads never fall from one pixel to the next.
  Interval& range = window.pixels;
  const auto reads_before = [&](int i) {
    return last_cell(taps, static_cast<std::size_t>(i)) < cells.begin;
  };
  const auto reads_behind = [&](int i) {
    return taps.first[static_cast<std::size_t>(i)] >= cells.end;
  };
  while (range.begin < range.end && reads_before(range.begin)) {
    ++range.begin;
  }
  while (range.begin < range.end && reads_behind(range.end - 1)) {
    --range.end;
  }
  if (range.size() > 0) {
    window.cells = {taps.first[static_cast<std::size_t>(range.begin)],
                    last_cell(taps, static_cast<std::size_t>(range.end - 1)) + 1};
  }
  return window;
}

PackedMask crop_to_bounds(const PackedMask& mask) {
  const Box bounds = mask.bounds();
  const int width = static_cast<int>(bounds.x2 - bounds.x1);
  const int height = static_cast<int>(bounds.y2 - bounds.y1);
  if (width <= 0 || height <= 0) {
    return {};
  }
  const int left = static_cast<int>(bounds.x1) - mask.x();
  const int top = static_cast<int>(bounds.y1) - mask.y();
  const int words = (width + 31) / 32;
  const int source_words = mask.words_per_row();
  const int skip = left / 32;
  const auto shift = static_cast<unsigned>(left % 32);
  std::vector<std::uint32_t> bits(static_cast<std::size_t>(words) *
                                  static_cast<std::size_t>(height));
  for (int row = 0; row < height; ++row) {
    const std::uint32_t* source =
        mask.words().data() + std::ptrdiff_t{top + row} * source_words + skip;
    std::uint32_t* out = bits.data() + std::ptrdiff_t{row} * words;
    for (int i = 0; i < words; ++i) {
      const std::uint64_t high = skip + i + 1 < source_words ? source[i + 1] : 0U;
      out[i] = static_cast<std::uint32_t>((high << 32 | source[i]) >> shift);
    }
    out[words - 1] &= low_bits(width - (words - 1) * 32);
  }
  return PackedMask(mask.x() + left, mask.y() + top, width, height, std::move(bits));
}

}  // namespace instseg
