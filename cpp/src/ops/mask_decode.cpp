#include "ops/mask_decode.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

#include "instseg/error.hpp"
#include "ops/instruction_set.hpp"
#include "ops/mask_check.hpp"
#include "ops/sigmoid.hpp"

namespace instseg {
namespace {

constexpr const char* kWhere = "mask decode";

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, std::string(kWhere) + ": " + what);
}

std::string size_text(int width, int height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

void check(std::span<const float> prototypes, int channels, int h, int w,
           std::span<const float> coefficients, int image_height, int image_width,
           const MaskDecodeSpec& spec) {
  check_size(kWhere, "the image", image_width, image_height);
  check_size(kWhere, "the network input", spec.network_width, spec.network_height);
  check_size(kWhere, "a prototype", w, h);
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

// out[i] = sigmoid(sum over channels of coefficient * cell i); `cells` points at channel 0.
struct EvaluateCells {
  [[gnu::always_inline]] static void run(const float* cells, std::ptrdiff_t channel_stride,
                                         std::span<const float> coefficients, int count,
                                         float* __restrict out) {
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
    Sigmoid::run(out, static_cast<std::size_t>(count));
  }
};

}  // namespace

PackedMask decode_prototype_mask(std::span<const float> prototypes, int channels, int h, int w,
                                 std::span<const float> coefficients, const Box& box,
                                 int image_height, int image_width, const MaskDecodeSpec& spec,
                                 MaskScratch& scratch) {
  check(prototypes, channels, h, w, coefficients, image_height, image_width, spec);
  const ResizeChain along_x{w, spec.network_width, spec.network_width, image_width};
  const ResizeChain along_y{h, spec.network_height, spec.network_height, image_height};
  const Reach x =
      compose_axis(along_x, whole_numbers(box.x1, box.x2, spec.network_width), scratch.x);
  const Reach y =
      compose_axis(along_y, whole_numbers(box.y1, box.y2, spec.network_height), scratch.y);
  const std::ptrdiff_t channel_stride = std::ptrdiff_t{h} * w;
  return render_mask({&scratch.x, x.pixels.begin, x.pixels, x.cells},
                     {&scratch.y, y.pixels.begin, y.pixels, y.cells}, spec.threshold,
                     scratch.render, [&](int row, float* out) {
                       run_kernel<EvaluateCells>(
                           prototypes.data() + std::ptrdiff_t{row} * w + x.cells.begin,
                           channel_stride, coefficients, x.cells.size(), out);
                     });
}

}  // namespace instseg
