#include "ops/mask_decode.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include "instseg/error.hpp"
#include "instseg/image.hpp"
#include "ops/sigmoid.hpp"

namespace instseg {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "mask decode: " + what);
}

std::string size_text(int width, int height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

void check_size(const char* what, int width, int height) {
  if (width <= 0 || height <= 0 || width > kMaxImageSide || height > kMaxImageSide ||
      std::int64_t{width} * height > kMaxImagePixels) {
    fail(std::string(what) + " is " + size_text(width, height) + ", expected sides of 1 to " +
         std::to_string(kMaxImageSide) + " and at most " + std::to_string(kMaxImagePixels) +
         " pixels");
  }
}

void check(std::span<const float> prototypes, int channels, int h, int w,
           std::span<const float> coefficients, int image_height, int image_width,
           const MaskDecodeSpec& spec) {
  check_size("the image", image_width, image_height);
  check_size("the network input", spec.network_width, spec.network_height);
  check_size("a prototype", w, h);
  if (h > spec.network_height || w > spec.network_width) {
    fail("prototypes of " + size_text(w, h) + " are larger than the network input of " +
         size_text(spec.network_width, spec.network_height));
  }
  const std::size_t cells = static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
  if (channels <= 0 || prototypes.size() / cells != static_cast<std::size_t>(channels) ||
      prototypes.size() % cells != 0) {
    fail(std::to_string(prototypes.size()) + " prototype values, expected " +
         std::to_string(channels) + " x " + std::to_string(h) + " x " + std::to_string(w) +
         " with at least one channel");
  }
  if (coefficients.size() != static_cast<std::size_t>(channels)) {
    fail(std::to_string(coefficients.size()) + " coefficients, expected " +
         std::to_string(channels));
  }
  if (!(spec.threshold >= 0.0F && spec.threshold <= 1.0F)) {
    fail("the threshold is " + std::to_string(spec.threshold) + ", expected 0 to 1");
  }
}

// One bilinear sample: source samples first and second, weights 1 - t and t.
struct Sample {
  int first;
  int second;
  float t;
};

// Bilinear resize of one axis; pixel centres at +0.5, edges clamped.
class Resize {
 public:
  Resize(int source_size, int target_size)
      : scale_(static_cast<float>(source_size) / static_cast<float>(target_size)),
        last_(source_size - 1) {}

  [[nodiscard]] Sample operator()(int target) const {
    const double position = std::max(0.0, double{scale_} * (target + 0.5) - 0.5);
    const int first = std::min(static_cast<int>(position), last_);
    const float t =
        std::clamp(static_cast<float>(position) - static_cast<float>(first), 0.0F, 1.0F);
    return {first, std::min(first + 1, last_), t};
  }

 private:
  float scale_;  // single precision, but positions in double: so that the weights are Paddle's
  int last_;
};

struct Interval {
  int begin = 0;
  int end = 0;

  [[nodiscard]] int size() const { return std::max(0, end - begin); }
};

// The whole numbers n in [0, size) with low <= n < high; none when one is NaN.
Interval whole_numbers(float low, float high, int size) {
  if (!(low < high)) {
    return {};
  }
  const auto limit = static_cast<float>(size);
  return {static_cast<int>(std::clamp(std::ceil(low), 0.0F, limit)),
          static_cast<int>(std::clamp(std::ceil(high), 0.0F, limit))};
}

// What one axis of a decode covers: pixels of the image, cells of the prototypes.
struct Reach {
  Interval pixels;
  Interval cells;
};

bool reaches(const Sample& sample, const Interval& kept) {
  const auto inside = [&](int n) { return n >= kept.begin && n < kept.end; };
  return (sample.t < 1.0F && inside(sample.first)) || (sample.t > 0.0F && inside(sample.second));
}

// Composes both interpolations and the cut: `kept` are the network pixels inside the box.
Reach compose_axis(int cells, int network, int image, const Interval& kept,
                   MaskScratch::Axis& axis) {
  Reach reach;
  if (kept.size() == 0) {
    return reach;
  }
  // Wide by a few pixels, then narrowed to those that do sample a kept network pixel.
  const double factor = static_cast<double>(image) / network;
  Interval& pixels = reach.pixels;
  pixels.begin = std::clamp(static_cast<int>((kept.begin - 1) * factor) - 2, 0, image);
  pixels.end = std::clamp(static_cast<int>((kept.end + 1) * factor) + 3, 0, image);
  const Resize to_image(network, image);
  const Resize to_network(cells, network);
  const auto reached = [&](int pixel) { return reaches(to_image(pixel), kept); };
  while (pixels.begin < pixels.end && !reached(pixels.begin)) {
    ++pixels.begin;
  }
  while (pixels.begin < pixels.end && !reached(pixels.end - 1)) {
    --pixels.end;
  }
  if (pixels.size() == 0) {
    return {};
  }

  const auto count = static_cast<std::size_t>(pixels.size());
  axis.first.resize(count);
  axis.w0.resize(count);
  axis.w1.resize(count);
  axis.w2.resize(count);
  reach.cells = {cells, 0};
  for (std::size_t i = 0; i < count; ++i) {
    const Sample outer = to_image(pixels.begin + static_cast<int>(i));
    // Neighbouring network pixels are at most one cell apart, so three cells hold all four taps.
    std::array<float, 3> weights{};
    int first = -1;
    const auto add = [&](int pixel, float weight) {
      if (weight <= 0.0F || pixel < kept.begin || pixel >= kept.end) {
        return;
      }
      const Sample inner = to_network(pixel);
      if (first < 0) {
        first = inner.first;
      }
      weights[static_cast<std::size_t>(inner.first - first)] += weight * (1.0F - inner.t);
      weights[static_cast<std::size_t>(inner.second - first)] += weight * inner.t;
      reach.cells.begin = std::min(reach.cells.begin, inner.first);
      reach.cells.end = std::max(reach.cells.end, inner.second + 1);
    };
    add(outer.first, 1.0F - outer.t);
    add(outer.second, outer.t);
    axis.first[i] = first;
    axis.w0[i] = weights[0];
    axis.w1[i] = weights[1];
    axis.w2[i] = weights[2];
  }
  for (int& first : axis.first) {
    first -= reach.cells.begin;
  }
  return reach;
}

// out[i] = sigmoid(sum over channels of coefficient * cell i); `cells` points at channel 0.
void evaluate_cells(const float* cells, std::ptrdiff_t channel_stride,
                    std::span<const float> coefficients, int count, float* __restrict out) {
  std::fill(out, out + count, 0.0F);
  std::size_t channel = 0;
  // Four channels per pass, to load and store the sums less often.
  for (; channel + 4 <= coefficients.size(); channel += 4) {
    const float* __restrict p0 = cells + static_cast<std::ptrdiff_t>(channel) * channel_stride;
    const float* __restrict p1 = p0 + channel_stride;
    const float* __restrict p2 = p1 + channel_stride;
    const float* __restrict p3 = p2 + channel_stride;
    const float c0 = coefficients[channel];
    const float c1 = coefficients[channel + 1];
    const float c2 = coefficients[channel + 2];
    const float c3 = coefficients[channel + 3];
    for (int i = 0; i < count; ++i) {
      out[i] += c0 * p0[i] + c1 * p1[i] + c2 * p2[i] + c3 * p3[i];
    }
  }
  for (; channel < coefficients.size(); ++channel) {
    const float* __restrict p = cells + static_cast<std::ptrdiff_t>(channel) * channel_stride;
    const float c = coefficients[channel];
    for (int i = 0; i < count; ++i) {
      out[i] += c * p[i];
    }
  }
  sigmoid({out, static_cast<std::size_t>(count)});
}

void interpolate_columns(const float* __restrict cells, const MaskScratch::Axis& axis,
                         float* __restrict out) {
  const std::size_t count = axis.first.size();
  const int* __restrict first = axis.first.data();
  const float* __restrict w0 = axis.w0.data();
  const float* __restrict w1 = axis.w1.data();
  const float* __restrict w2 = axis.w2.data();
  for (std::size_t i = 0; i < count; ++i) {
    const float* cell = cells + first[i];
    out[i] = w0[i] * cell[0] + w1[i] * cell[1] + w2[i] * cell[2];
  }
}

constexpr auto kBits = [] {
  std::array<std::uint32_t, 32> bits{};
  for (unsigned i = 0; i < 32; ++i) {
    bits[i] = std::uint32_t{1} << i;
  }
  return bits;
}();

// Blends three rows, compares and packs.
void pack_row(const float* __restrict r0, const float* __restrict r1, const float* __restrict r2,
              const std::array<float, 3>& weights, float threshold, int words,
              std::uint32_t* __restrict out) {
  const float w0 = weights[0];
  const float w1 = weights[1];
  const float w2 = weights[2];
  for (int word = 0; word < words; ++word, r0 += 32, r1 += 32, r2 += 32) {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      const float probability = w0 * r0[i] + w1 * r1[i] + w2 * r2[i];
      bits |= kBits[i] & (0U - std::uint32_t{probability > threshold});
    }
    out[word] = bits;
  }
}

}  // namespace

PackedMask decode_prototype_mask(std::span<const float> prototypes, int channels, int h, int w,
                                 std::span<const float> coefficients, const Box& box,
                                 int image_height, int image_width, const MaskDecodeSpec& spec,
                                 MaskScratch& scratch) {
  check(prototypes, channels, h, w, coefficients, image_height, image_width, spec);
  const Reach x = compose_axis(w, spec.network_width, image_width,
                               whole_numbers(box.x1, box.x2, spec.network_width), scratch.x);
  const Reach y = compose_axis(h, spec.network_height, image_height,
                               whole_numbers(box.y1, box.y2, spec.network_height), scratch.y);
  if (x.pixels.size() == 0 || y.pixels.size() == 0) {
    return {};
  }

  // Two cells, and two rows, more than the region: where the weights of a window's last cells are
  // zero, the window may stand out. Columns are padded to whole words; zeros are never above the
  // threshold.
  const int words = (x.pixels.size() + 31) / 32;
  const std::ptrdiff_t row_stride = std::ptrdiff_t{words} * 32;
  scratch.probabilities.assign(static_cast<std::size_t>(x.cells.size()) + 2, 0.0F);
  scratch.columns.assign(
      static_cast<std::size_t>(row_stride) * (static_cast<std::size_t>(y.cells.size()) + 2), 0.0F);
  const std::ptrdiff_t channel_stride = std::ptrdiff_t{h} * w;
  for (int row = 0; row < y.cells.size(); ++row) {
    evaluate_cells(prototypes.data() + std::ptrdiff_t{y.cells.begin + row} * w + x.cells.begin,
                   channel_stride, coefficients, x.cells.size(), scratch.probabilities.data());
    interpolate_columns(scratch.probabilities.data(), scratch.x,
                        scratch.columns.data() + row * row_stride);
  }

  std::vector<std::uint32_t> bits(static_cast<std::size_t>(words) *
                                  static_cast<std::size_t>(y.pixels.size()));
  for (int row = 0; row < y.pixels.size(); ++row) {
    const auto at = static_cast<std::size_t>(row);
    const float* columns = scratch.columns.data() + scratch.y.first[at] * row_stride;
    pack_row(columns, columns + row_stride, columns + 2 * row_stride,
             {scratch.y.w0[at], scratch.y.w1[at], scratch.y.w2[at]}, spec.threshold, words,
             bits.data() + std::ptrdiff_t{row} * words);
  }
  return PackedMask(x.pixels.begin, y.pixels.begin, x.pixels.size(), y.pixels.size(),
                    std::move(bits));
}

}  // namespace instseg
