#include "preprocess/preprocess.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "instseg/error.hpp"
#include "preprocess/preprocess_testing.hpp"

namespace instseg {
namespace {

using namespace testing;

// OpenCV's fixed-point linear resize of one pixel.
int fixed_point_level(const ImageView& image, const InputSpec& spec, int x, int y, int plane) {
  const auto split = [](int target, int source_size, int target_size) {
    const double step = 1.0 / (static_cast<double>(target_size) / source_size);
    const float position = static_cast<float>((target + 0.5) * step - 0.5);
    const float floor = std::floor(position);
    const float t = position - floor;
    return std::tuple(static_cast<int>(floor), std::lrint((1.0F - t) * 2048.0F),
                      std::lrint(t * 2048.0F));
  };
  const auto [first_x, x0, x1] = split(x, image.width, spec.width);
  const auto [first_y, y0, y1] = split(y, image.height, spec.height);
  const auto row = [&, first_x = first_x, x0 = x0, x1 = x1](int source_y) {
    return x0 * std::lrint(source_level(image, first_x, source_y, plane, spec.color)) +
           x1 * std::lrint(source_level(image, first_x + 1, source_y, plane, spec.color));
  };
  return static_cast<int>(
      ((((row(first_y) >> 4) * y0) >> 16) + (((row(first_y + 1) >> 4) * y1) >> 16) + 2) >> 2);
}

TEST(Preprocess, LinearIsOpenCVsFixedPoint) {
  for (const Sizes& sizes : kSizes) {
    const TestImage image = noise(sizes.height, sizes.width, PixelFormat::bgr8, 5);
    const auto spec = make_spec(sizes.target_height, sizes.target_width, Interpolation::linear);
    const std::vector<float> out = run(image.view, spec);
    std::size_t at = 0;
    for (int plane = 0; plane < 3; ++plane) {
      for (int y = 0; y < spec.height; ++y) {
        for (int x = 0; x < spec.width; ++x, ++at) {
          ASSERT_EQ(static_cast<int>(out[at]), fixed_point_level(image.view, spec, x, y, plane))
              << name_of(sizes) << " at " << x << ", " << y;
          ASSERT_NEAR(out[at], exact_level(image.view, spec, x, y, plane), 1.25);
        }
      }
    }
  }
}

TEST(Preprocess, CubicIsTheExactFormulaRounded) {
  for (const Sizes& sizes : kSizes) {
    const TestImage image = noise(sizes.height, sizes.width, PixelFormat::bgr8, 5);
    const auto spec = make_spec(sizes.target_height, sizes.target_width, Interpolation::cubic);
    const std::vector<float> out = run(image.view, spec);
    std::size_t at = 0;
    for (int plane = 0; plane < 3; ++plane) {
      for (int y = 0; y < spec.height; ++y) {
        for (int x = 0; x < spec.width; ++x, ++at) {
          ASSERT_EQ(out[at], std::round(out[at]));
          ASSERT_NEAR(out[at], exact_level(image.view, spec, x, y, plane), 0.5 + 1e-4)
              << name_of(sizes) << " at " << x << ", " << y;
        }
      }
    }
  }
}

// OpenCV's cubic resize of one pixel, with the products that it fuses.
float fused_level(const ImageView& image, const InputSpec& spec, int x, int y, int plane) {
  struct Axis {
    int first;
    float weight[4];
  };
  const auto split = [](int target, int source_size, int target_size) {
    const double position = (target + 0.5) * (static_cast<double>(source_size) / target_size) - 0.5;
    const double floor = std::floor(position);
    const float sum = 1.0F + static_cast<float>(position - floor);
    const double t = double{sum} - 1.0;
    const auto far = [](double d) { return ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0; };
    const auto near = [](double d) { return (1.25 * d - 2.25) * d * d + 1.0; };
    return Axis{static_cast<int>(floor) - 1,
                {static_cast<float>(far(1 + t)), static_cast<float>(near(t)),
                 static_cast<float>(near(1 - t)), static_cast<float>(far(2 - t))}};
  };
  const Axis columns = split(x, image.width, spec.width);
  const Axis rows = split(y, image.height, spec.height);
  float kept[4];
  for (int j = 0; j < 4; ++j) {
    kept[j] = 0;
    for (int k = 0; k < 4; ++k) {
      const double level =
          source_level(image, columns.first + k, rows.first + j, plane, spec.color);
      kept[j] = std::fma(static_cast<float>(level), columns.weight[k], kept[j]);
    }
  }
  const float sum = std::fma(kept[0], rows.weight[0], kept[1] * rows.weight[1]) +
                    std::fma(kept[2], rows.weight[2], kept[3] * rows.weight[3]);
  return std::nearbyint(std::min(std::max(sum, 0.0F), 255.0F));
}

TEST(Preprocess, CubicIsOpenCVsFusedSum) {
  // Ratios of small numbers, so that many sums lie in the middle between two levels.
  int middle = 0;
  for (const Sizes& sizes : {Sizes{48, 60, 80, 100}, Sizes{64, 64, 40, 160}, Sizes{50, 30, 20, 90},
                             Sizes{40, 900, 64, 45}}) {
    const TestImage image = noise(sizes.height, sizes.width, PixelFormat::bgr8, 5);
    const auto spec = make_spec(sizes.target_height, sizes.target_width, Interpolation::cubic);
    const std::vector<float> out = run(image.view, spec);
    std::size_t at = 0;
    for (int plane = 0; plane < 3; ++plane) {
      for (int y = 0; y < spec.height; ++y) {
        for (int x = 0; x < spec.width; ++x, ++at) {
          const double exact = exact_level(image.view, spec, x, y, plane);
          middle += exact > 0 && exact < 255 && std::abs(exact - std::floor(exact) - 0.5) < 1e-5;
          ASSERT_EQ(out[at], fused_level(image.view, spec, x, y, plane))
              << name_of(sizes) << " at " << x << ", " << y << ": " << exact;
        }
      }
    }
  }
  EXPECT_GT(middle, 20);
}

// Rows and sums from cv2.resize of OpenCV 5.0.
TEST(Preprocess, AgreesWithOpenCV) {
  const TestImage image = pattern();
  struct Known {
    Interpolation interpolation;
    int height, width;
    std::vector<int> red, blue;  // of row height / 2
    int green_sum;
  };
  const std::vector<Known> all{{Interpolation::linear,
                                5,
                                7,
                                {143, 207, 88, 189, 106, 152, 106},
                                {190, 98, 115, 170, 77, 241, 149},
                                4631},
                               {Interpolation::linear,
                                40,
                                13,
                                {62, 50, 200, 141, 82, 153, 220, 161, 114, 94, 130, 185, 157},
                                {155, 224, 76, 164, 193, 84, 173, 163, 93, 181, 132, 102, 190},
                                65895},
                               {Interpolation::cubic,
                                5,
                                7,
                                {153, 236, 50, 212, 95, 161, 81},
                                {188, 99, 124, 170, 78, 255, 151},
                                4637},
                               {Interpolation::cubic,
                                40,
                                13,
                                {55, 36, 235, 128, 48, 156, 240, 189, 108, 69, 114, 203, 173},
                                {152, 228, 76, 162, 223, 83, 172, 185, 91, 182, 143, 100, 193},
                                65988}};
  for (const Known& known : all) {
    const std::vector<float> out =
        run(image.view, make_spec(known.height, known.width, known.interpolation));
    // OpenCV rounds the cubic weights of images as small as this one to 11 bits.
    const bool cubic = known.interpolation == Interpolation::cubic;
    const float tolerance = cubic ? 1.0F : 0.0F;
    const std::size_t plane = static_cast<std::size_t>(known.height * known.width);
    const std::size_t row = static_cast<std::size_t>(known.height / 2 * known.width);
    for (std::size_t x = 0; x < known.red.size(); ++x) {
      EXPECT_NEAR(out[row + x], static_cast<float>(known.red[x]), tolerance);
      EXPECT_NEAR(out[2 * plane + row + x], static_cast<float>(known.blue[x]), tolerance);
    }
    double green_sum = 0;
    for (std::size_t i = 0; i < plane; ++i) {
      green_sum += double{out[plane + i]};
    }
    EXPECT_NEAR(green_sum, known.green_sum, cubic ? 0.02 * static_cast<double>(plane) : 0);
  }
}

TEST(Preprocess, FormatsAndOrders) {
  for (const Interpolation interpolation : {Interpolation::linear, Interpolation::cubic}) {
    for (const InputSpec::Color color : {InputSpec::Color::rgb, InputSpec::Color::bgr}) {
      for (const PixelFormat format : {PixelFormat::bgr8, PixelFormat::rgb8, PixelFormat::gray8,
                                       PixelFormat::bgra8, PixelFormat::rgba8}) {
        const TestImage image = noise(19, 23, format, 3);
        InputSpec spec = make_spec(19, 23, interpolation);  // same size: the pixels themselves
        spec.color = color;
        const std::vector<float> out = run(image.view, spec);
        std::size_t at = 0;
        for (int plane = 0; plane < 3; ++plane) {
          for (int y = 0; y < 19; ++y) {
            for (int x = 0; x < 23; ++x, ++at) {
              ASSERT_EQ(double{out[at]}, source_level(image.view, x, y, plane, color))
                  << static_cast<int>(format) << " " << plane << " " << x << " " << y;
            }
          }
        }
      }
    }
  }
}

TEST(Preprocess, GrayAndAlphaResizeLikeColor) {
  for (const Interpolation interpolation : {Interpolation::linear, Interpolation::cubic}) {
    const auto value = [](int x, int y, int) { return (x * 31 + y * 57 + x * y) % 256; };
    const auto spec = make_spec(40, 21, interpolation);
    const std::vector<float> color =
        run(make_image(33, 47, PixelFormat::bgr8, 0, value).view, spec);
    EXPECT_EQ(run(make_image(33, 47, PixelFormat::gray8, 0, value).view, spec), color);
    const auto with_alpha = [&](int x, int y, int channel) {
      return channel == 3 ? 255 - x : value(x, y, 0);
    };
    EXPECT_EQ(run(make_image(33, 47, PixelFormat::bgra8, 0, with_alpha).view, spec), color);
  }
}

TEST(Preprocess, Normalises) {
  const TestImage image = noise(30, 40, PixelFormat::bgr8);
  for (const Interpolation interpolation : {Interpolation::linear, Interpolation::cubic}) {
    InputSpec spec = make_spec(16, 16, interpolation);
    const std::vector<float> levels = run(image.view, spec);
    spec.scale = 1.0F / 255.0F;
    spec.mean = {0.485F, 0.456F, 0.406F};
    spec.std = {0.229F, 0.224F, -0.225F};
    const std::vector<float> values = run(image.view, spec);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t plane = i / (16 * 16);
      EXPECT_NEAR(values[i], (levels[i] / 255.0F - spec.mean[plane]) / spec.std[plane], 1e-6);
    }
  }
}

TEST(Preprocess, ThreadsAndReusedScratchChangeNothing) {
  ThreadPool pool(3);
  PreprocessScratch scratch;
  for (const Interpolation interpolation : {Interpolation::linear, Interpolation::cubic}) {
    for (const Sizes& sizes : kSizes) {
      const TestImage image = noise(sizes.height, sizes.width, PixelFormat::rgb8);
      const auto spec = make_spec(sizes.target_height, sizes.target_width, interpolation);
      std::vector<float> out(static_cast<std::size_t>(3 * spec.height * spec.width));
      const PreprocessInfo info =
          preprocess(image.view, spec, {spec.height, spec.width}, out, scratch, pool);
      EXPECT_EQ(out, run(image.view, spec)) << name_of(sizes);
      EXPECT_FLOAT_EQ(info.scale_x * static_cast<float>(sizes.width),
                      static_cast<float>(spec.width));
      EXPECT_FLOAT_EQ(info.scale_y * static_cast<float>(sizes.height),
                      static_cast<float>(spec.height));
    }
  }
}

TEST(Preprocess, ChecksItsArguments) {
  const TestImage image = noise(4, 6, PixelFormat::bgr8);
  const InputSpec good = make_spec(8, 8, Interpolation::linear);
  const auto message = [&](ImageView view, const InputSpec& spec, std::size_t size) {
    ThreadPool pool(1);
    PreprocessScratch scratch;
    std::vector<float> out(size);
    try {
      preprocess(view, spec, {spec.height, spec.width}, out, scratch, pool);
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid_argument ? std::string(error.what()) : "code";
    }
    return std::string("no error");
  };
  const auto with = [&](auto change) {
    ImageView view = image.view;
    change(view);
    return message(view, good, 192);
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos ? ::testing::AssertionSuccess()
                                                : ::testing::AssertionFailure() << text;
  };
  EXPECT_EQ(with([](ImageView&) {}), "no error");
  EXPECT_TRUE(has(with([](ImageView& view) { view.data = nullptr; }), "6 x 4"));
  EXPECT_TRUE(has(with([](ImageView& view) { view.width = 0; }), "0 x 4"));
  EXPECT_TRUE(has(with([](ImageView& view) { view.height = -4; }), "6 x -4"));
  EXPECT_TRUE(has(with([](ImageView& view) { view.height = kMaxImageSide + 1; }), "6 x 1048577"));
  EXPECT_TRUE(has(with([](ImageView& view) { view.height = view.width = 1 << 15; }),
                  "at most 268435456 pixels"));
  EXPECT_TRUE(
      has(with([](ImageView& view) { view.stride = 17; }), "17 bytes, expected at least 18"));
  EXPECT_TRUE(has(with([](ImageView& view) { view.stride = -18; }), "-18 bytes"));
  EXPECT_TRUE(has(with([](ImageView& view) { view.format = static_cast<PixelFormat>(17); }), "17"));
  EXPECT_TRUE(has(message(image.view, good, 191), "191 values, expected 192 (3 x 8 x 8)"));
  EXPECT_TRUE(has(message(image.view, make_spec(0, 8, Interpolation::cubic), 0), "8 x 0"));
  InputSpec bad = good;
  bad.std[1] = 0;
  EXPECT_TRUE(has(message(image.view, bad, 192), "channel 1"));
  bad = good;
  bad.mean[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(has(message(image.view, bad, 192), "channel 2"));
}

}  // namespace
}  // namespace instseg
