#include "backends/openvino/split/convolution.hpp"

#include <cmath>
#include <functional>

namespace instseg::split {

bool available() { return true; }

Convolution::Convolution(std::span<const float> weights, std::int64_t outputs, std::int64_t inputs,
                         const Geometry& geometry, std::span<const float> bias,
                         Activation activation, const Parallel&)
    : inputs_(inputs),
      outputs_(outputs),
      geometry_(geometry),
      activation_(activation),
      bias_(static_cast<std::size_t>(outputs)),
      weights_(weights.begin(), weights.end()) {
  std::copy(bias.begin(), bias.end(), bias_.begin());
}

ImageShape Convolution::output_shape(const ImageShape& input) const {
  const Geometry& g = geometry_;
  return {input.batch, (input.height + g.top + g.bottom - g.kernel_height) / g.stride + 1,
          (input.width + g.left + g.right - g.kernel_width) / g.stride + 1};
}

// PROVISIONAL: by the definition.
void Convolution::run(const float* input, const float* residual, float* output,
                      const ImageShape& shape, const Parallel& parallel) const {
  const ImageShape to = output_shape(shape);
  const Geometry& g = geometry_;
  const auto row = [&](int index) {
    const std::int64_t image = index / to.height;
    const std::int64_t y = index % to.height;
    for (std::int64_t x = 0; x < to.width; ++x) {
      for (std::int64_t o = 0; o < outputs_; ++o) {
        const std::int64_t place = ((image * to.height + y) * to.width + x) * outputs_ + o;
        float sum = bias_[static_cast<std::size_t>(o)] + (residual ? residual[place] : 0.0F);
        for (std::int64_t i = 0; i < inputs_; ++i) {
          for (std::int64_t ky = 0; ky < g.kernel_height; ++ky) {
            for (std::int64_t kx = 0; kx < g.kernel_width; ++kx) {
              const std::int64_t iy = y * g.stride - g.top + ky;
              const std::int64_t ix = x * g.stride - g.left + kx;
              if (iy < 0 || iy >= shape.height || ix < 0 || ix >= shape.width) continue;
              sum += input[((image * shape.height + iy) * shape.width + ix) * inputs_ + i] *
                     weights_[static_cast<std::size_t>(
                         ((o * inputs_ + i) * g.kernel_height + ky) * g.kernel_width + kx)];
            }
          }
        }
        if (activation_ == Activation::relu) sum = std::max(sum, 0.0F);
        if (activation_ == Activation::silu) sum = sum / (1 + std::exp(-sum));
        output[place] = sum;
      }
    }
  };
  parallel.run(static_cast<int>(to.batch * to.height), std::cref(row));
}

}  // namespace instseg::split
