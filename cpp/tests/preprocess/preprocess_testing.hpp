// Images for the tests of the preprocessing, and its formulas pixel by pixel.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "preprocess/preprocess.hpp"

namespace instseg::testing {

using Interpolation = InputSpec::Interpolation;

// An image that owns its pixels; bytes between the rows are noise, so that reading them shows.
struct TestImage {
  std::vector<std::uint8_t> bytes;
  ImageView view;
};

inline TestImage make_image(int height, int width, PixelFormat format, int padding,
                            const std::function<int(int x, int y, int channel)>& value) {
  TestImage image;
  const int pixel_bytes = channels(format);
  const int stride = width * pixel_bytes + padding;
  // No padding behind the last row: a read past its end is out of bounds.
  image.bytes.assign(static_cast<std::size_t>(stride * height - padding), 99);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int channel = 0; channel < pixel_bytes; ++channel) {
        image.bytes[static_cast<std::size_t>(y * stride + x * pixel_bytes + channel)] =
            static_cast<std::uint8_t>(value(x, y, channel));
      }
    }
  }
  image.view = {image.bytes.data(), height, width, stride, format};
  return image;
}

inline TestImage noise(int height, int width, PixelFormat format, int padding = 0) {
  std::mt19937 random(static_cast<unsigned>(height * 7919 + width));
  std::uniform_int_distribution<int> level(0, 255);
  return make_image(height, width, format, padding, [&](int, int, int) { return level(random); });
}

inline InputSpec make_spec(int height, int width, Interpolation interpolation) {
  InputSpec spec;
  spec.height = height;
  spec.width = width;
  spec.interpolation = interpolation;
  return spec;
}

// Three channels of which every byte is known, for values that were recorded from OpenCV.
inline TestImage pattern() {
  return make_image(24, 31, PixelFormat::bgr8, 0, [](int x, int y, int channel) {
    return (channel == 0   ? x * 37 + y * 11
            : channel == 1 ? x * x * 3 + y * 29
                           : x * y * 7 + 5) %
           256;
  });
}

// The network input of one image; values that are not written show.
inline std::vector<float> run(const ImageView& image, const InputSpec& spec, PixelSize input,
                              int threads = 1) {
  ThreadPool pool(threads);
  PreprocessScratch scratch;
  std::vector<float> out(static_cast<std::size_t>(3 * input.height * input.width), -1000.0F);
  preprocess(image, spec, input, out, scratch, pool);
  return out;
}

inline std::vector<float> run(const ImageView& image, const InputSpec& spec, int threads = 1) {
  return run(image, spec, resized_size(spec, {image.height, image.width}), threads);
}

// Byte of the image for plane `plane` of an output in `order`.
inline double source_level(const ImageView& image, int x, int y, int plane,
                           InputSpec::Color order) {
  const bool rgb = image.format == PixelFormat::rgb8 || image.format == PixelFormat::rgba8;
  int channel = rgb == (order == InputSpec::Color::rgb) ? plane : 2 - plane;
  if (image.format == PixelFormat::gray8) {
    channel = 0;
  }
  x = std::clamp(x, 0, image.width - 1);
  y = std::clamp(y, 0, image.height - 1);
  return image.data[y * image.stride + std::ptrdiff_t{x} * channels(image.format) + channel];
}

inline double cubic_kernel(double distance) {
  constexpr double a = -0.75;
  const double d = std::abs(distance);
  if (d <= 1) {
    return (a + 2) * d * d * d - (a + 3) * d * d + 1;
  }
  return d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a : 0;
}

// The resized image before rounding: the formula, pixel by pixel, in double precision.
inline double exact_level(const ImageView& image, const InputSpec& spec, int x, int y, int plane) {
  const double source_x = (x + 0.5) * image.width / spec.width - 0.5;
  const double source_y = (y + 0.5) * image.height / spec.height - 0.5;
  const bool linear = spec.interpolation == Interpolation::linear;
  const auto weight = [&](double distance) {
    return linear ? std::max(0.0, 1 - std::abs(distance)) : cubic_kernel(distance);
  };
  double sum = 0;
  for (int dy = -1; dy <= 2; ++dy) {
    for (int dx = -1; dx <= 2; ++dx) {
      const int tap_x = static_cast<int>(std::floor(source_x)) + dx;
      const int tap_y = static_cast<int>(std::floor(source_y)) + dy;
      sum += weight(source_x - tap_x) * weight(source_y - tap_y) *
             source_level(image, tap_x, tap_y, plane, spec.color);
    }
  }
  return std::clamp(sum, 0.0, 255.0);
}

struct Sizes {
  int height, width, target_height, target_width;
};

inline const std::vector<Sizes> kSizes{{1, 1, 16, 9},    {1, 300, 5, 7},     {200, 3, 40, 64},
                                       {33, 51, 64, 33}, {48, 64, 64, 64},   {64, 64, 32, 32},
                                       {64, 64, 64, 64}, {108, 192, 64, 64}, {2, 2000, 8, 16},
                                       {7, 5, 100, 90},  {2000, 2, 20, 20},  {97, 101, 1, 1}};

inline std::string name_of(const Sizes& sizes) {
  return std::to_string(sizes.width) + "x" + std::to_string(sizes.height) + " to " +
         std::to_string(sizes.target_width) + "x" + std::to_string(sizes.target_height);
}

}  // namespace instseg::testing
