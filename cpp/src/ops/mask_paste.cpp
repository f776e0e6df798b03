#include "ops/mask_paste.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "instseg/error.hpp"
#include "maths/paste.hpp"
#include "ops/bit_matrix.hpp"
#include "ops/instruction_set.hpp"
#include "ops/mask_check.hpp"

namespace instseg {
namespace {

constexpr const char* kWhere = "mask paste";

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, std::string(kWhere) + ": " + what);
}

// Writes the taps of the pixels that the map reaches.
Interval reach(float low, float high, int cells, int image, MaskPasteScratch::Axis& axis) {
  const Interval pixels = pasted_pixels(low, high, cells, image);
  axis.first.clear();
  axis.w0.clear();
  axis.w1.clear();
  for (int pixel = pixels.begin; pixel < pixels.end; ++pixel) {
    const ComposedTaps taps = paste_taps(pixel, low, high, cells);
    axis.first.push_back(taps.first);
    axis.w0.push_back(taps.w0);
    axis.w1.push_back(taps.w1);
  }
  return pixels;
}

struct PackBlend {
  [[gnu::always_inline]] static void run(const float* __restrict r0, const float* __restrict r1,
                                         float w0, float w1, float threshold, int words,
                                         std::uint32_t* __restrict out) {
    for (int word = 0; word < words; ++word, r0 += 32, r1 += 32) {
      out[word] = pack_word([&](std::size_t i) { return w0 * r0[i] + w1 * r1[i] >= threshold; });
    }
  }
};

}  // namespace

PackedMask paste_mask(std::span<const float> probabilities, int h, int w, const Box& box,
                      int image_height, int image_width, float threshold,
                      MaskPasteScratch& scratch) {
  check_size(kWhere, "the image", image_width, image_height);
  check_size(kWhere, "the map", w, h);
  const std::size_t cells = static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
  if (probabilities.size() != cells) {
    fail(std::to_string(probabilities.size()) + " probabilities, expected " +
         std::to_string(cells) + " (" + std::to_string(h) + " x " + std::to_string(w) + ")");
  }
  if (!(threshold > 0.0F && threshold <= 1.0F)) {
    fail("the threshold is " + std::to_string(threshold) + ", expected above 0, at most 1");
  }
  const Interval x = reach(box.x1, box.x2, w, image_width, scratch.x);
  const Interval y = reach(box.y1, box.y2, h, image_height, scratch.y);
  if (x.size() == 0 || y.size() == 0) {
    return {};
  }

  // Columns are padded to whole words with zeros, which are below the threshold.
  const int words = (x.size() + 31) / 32;
  const std::ptrdiff_t stride = std::ptrdiff_t{words} * 32;
  const std::size_t width = static_cast<std::size_t>(w);
  scratch.cells.assign(width + 2, 0.0F);
  scratch.columns.assign(static_cast<std::size_t>(stride) * (static_cast<std::size_t>(h) + 2),
                         0.0F);
  for (int row = 0; row < h; ++row) {
    const float* source = probabilities.data() + std::ptrdiff_t{row} * w;
    for (std::size_t i = 0; i < width; ++i) {
      const float bounded = source[i] > 0.0F ? source[i] : 0.0F;
      scratch.cells[i + 1] = bounded < 1.0F ? bounded : 1.0F;
    }
    float* out = scratch.columns.data() + (row + 1) * stride;
    for (std::size_t i = 0; i < scratch.x.first.size(); ++i) {
      const float* cell = scratch.cells.data() + scratch.x.first[i];
      out[i] = scratch.x.w0[i] * cell[0] + scratch.x.w1[i] * cell[1];
    }
  }
  std::vector<std::uint32_t> bits(static_cast<std::size_t>(words) *
                                  static_cast<std::size_t>(y.size()));
  for (std::size_t row = 0; row < scratch.y.first.size(); ++row) {
    const float* columns = scratch.columns.data() + scratch.y.first[row] * stride;
    run_kernel<PackBlend>(columns, columns + stride, scratch.y.w0[row], scratch.y.w1[row],
                          threshold, words, bits.data() + row * static_cast<std::size_t>(words));
  }
  return PackedMask(x.begin, y.begin, x.size(), y.size(), std::move(bits));
}

}  // namespace instseg
