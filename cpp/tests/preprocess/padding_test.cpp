// Batches of images with different sizes, and the resize of normalised pixels.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "preprocess/preprocess_testing.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

using namespace testing;

struct Kind {
  InputSpec::Interpolation interpolation;
  bool normalize_first;
};

const std::vector<Kind> kKinds{{InputSpec::Interpolation::linear, false},
                               {InputSpec::Interpolation::cubic, false},
                               {InputSpec::Interpolation::linear, true}};

InputSpec normalized(InputSpec spec) {
  spec.scale = 1.0F / 255.0F;
  spec.mean = {0.485F, 0.456F, 0.406F};
  spec.std = {0.229F, 0.224F, 0.225F};
  return spec;
}

InputSpec keep_ratio(const Kind& kind) {
  InputSpec spec = normalized({});
  spec.resize = InputSpec::Resize::keep_ratio;
  spec.short_side = 40;
  spec.long_side = 60;
  spec.pad_stride = 32;
  spec.interpolation = kind.interpolation;
  spec.normalize_first = kind.normalize_first;
  return spec;
}

// `out` is `inside` in the corner at the top left and 0 elsewhere.
void expect_padded(std::span<const float> out, PixelSize input, std::span<const float> inside,
                   PixelSize resized) {
  ASSERT_EQ(out.size(), static_cast<std::size_t>(3 * input.height * input.width));
  ASSERT_EQ(inside.size(), static_cast<std::size_t>(3 * resized.height * resized.width));
  std::size_t at = 0;
  for (int plane = 0; plane < 3; ++plane) {
    for (int y = 0; y < input.height; ++y) {
      for (int x = 0; x < input.width; ++x, ++at) {
        const bool padding = y >= resized.height || x >= resized.width;
        const int from = (plane * resized.height + y) * resized.width + x;
        ASSERT_EQ(out[at], padding ? 0.0F : inside[static_cast<std::size_t>(from)])
            << plane << ", " << x << ", " << y;
      }
    }
  }
}

TEST(Padding, MixedBatchInABufferThatIsReused) {
  const std::vector<TestImage> images = [] {
    std::vector<TestImage> made;
    for (const PixelSize size : {PixelSize{90, 120}, {120, 90}, {7, 200}, {33, 33}, {1, 1}}) {
      made.push_back(noise(size.height, size.width, PixelFormat::bgr8, 3));
    }
    return made;
  }();
  for (const Kind& kind : kKinds) {
    const InputSpec spec = keep_ratio(kind);
    std::vector<PixelSize> resized;
    for (const TestImage& image : images) {
      resized.push_back(resized_size(spec, {image.view.height, image.view.width}));
    }
    const PixelSize input = input_size(spec, resized);
    EXPECT_EQ(input, (PixelSize{64, 64}));
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      PreprocessScratch scratch;
      // The second round finds the images of the first one, in another order.
      std::vector<float> batch(images.size() * 3 * 64 * 64, -1000.0F);
      for (const std::size_t shift : {0U, 1U}) {
        for (std::size_t i = 0; i < images.size(); ++i) {
          const std::size_t which = (i + shift) % images.size();
          const std::span<float> out = std::span(batch).subspan(i * 3 * 64 * 64, 3 * 64 * 64);
          const ImageView& view = images[which].view;
          const PreprocessInfo info = preprocess(view, spec, input, out, scratch, pool);
          EXPECT_EQ(info.height, resized[which].height);
          EXPECT_EQ(info.width, resized[which].width);
          EXPECT_EQ(info.scale_y,
                    static_cast<float>(info.height) / static_cast<float>(view.height));
          EXPECT_EQ(info.scale_x, static_cast<float>(info.width) / static_cast<float>(view.width));
          expect_padded(out, input, run(view, spec), resized[which]);
        }
      }
    }
  }
}

TEST(Padding, GrayImagesToo) {
  for (const Kind& kind : kKinds) {
    const InputSpec spec = keep_ratio(kind);
    const TestImage image = noise(50, 70, PixelFormat::gray8);
    const PixelSize resized = resized_size(spec, {50, 70});
    expect_padded(run(image.view, spec, {64, 96}), {64, 96}, run(image.view, spec), resized);
  }
}

TEST(Padding, InputTooSmall) {
  const InputSpec spec = keep_ratio(kKinds[0]);
  const TestImage image = noise(90, 120, PixelFormat::bgr8);
  expect_error(ErrorCode::invalid_argument, {"53 x 40", "does not fit", "32 x 64"},
               [&] { (void)run(image.view, spec, {64, 32}); });
}

TEST(NormalizeFirst, IsTheExactFormulaNotRounded) {
  for (const Sizes& sizes : kSizes) {
    const TestImage image = noise(sizes.height, sizes.width, PixelFormat::bgr8, 5);
    InputSpec spec = normalized(
        make_spec(sizes.target_height, sizes.target_width, InputSpec::Interpolation::linear));
    spec.normalize_first = true;
    const std::vector<float> out = run(image.view, spec, 2);
    std::size_t at = 0;
    for (int plane = 0; plane < 3; ++plane) {
      const auto channel = static_cast<std::size_t>(plane);
      for (int y = 0; y < spec.height; ++y) {
        for (int x = 0; x < spec.width; ++x, ++at) {
          const double level = exact_level(image.view, spec, x, y, plane) / 255.0;
          const double expected = (level - double{spec.mean[channel]}) / double{spec.std[channel]};
          ASSERT_NEAR(out[at], expected, 2e-6) << name_of(sizes) << " at " << x << ", " << y;
        }
      }
    }
  }
}

// Rows and sums from cv2.resize of OpenCV 5.0, linear, on float32 pixels that were normalised
// before.
TEST(NormalizeFirst, AgreesWithOpenCV) {
  struct Known {
    int height, width;
    std::vector<float> red, blue;  // of row height / 2
    double green_sum;
  };
  const std::vector<Known> all{
      {5,
       7,
       {0.330936F, 1.425697F, -0.6109256F, 1.110112F, -0.3002337F, 0.4813892F, -0.30268F},
       {1.505858F, -0.1001181F, 0.2061377F, 1.149804F, -0.4561717F, 2.399727F, 0.7937506F},
       9.914720755070448},
      {40,
       13,
       {-1.053008F, -1.254553F, 1.309155F, 0.2982672F, -0.7126202F, 0.5021835F, 1.649542F,
        0.6386546F, -0.1698973F, -0.5063329F, 0.1014642F, 1.046487F, 0.5751613F},
       {0.9043206F, 2.098891F, -0.4819707F, 1.05582F, 1.563949F, -0.3304707F, 1.20732F, 1.029006F,
        -0.1789708F, 1.35882F, 0.4940642F, -0.02747088F, 1.51032F},
       96.27997023239732}};
  const TestImage image = pattern();
  for (const Known& known : all) {
    InputSpec spec =
        normalized(make_spec(known.height, known.width, InputSpec::Interpolation::linear));
    spec.normalize_first = true;
    const std::vector<float> out = run(image.view, spec);
    const auto plane = static_cast<std::size_t>(known.height * known.width);
    const auto row = static_cast<std::size_t>(known.height / 2 * known.width);
    for (std::size_t x = 0; x < known.red.size(); ++x) {
      EXPECT_NEAR(out[row + x], known.red[x], 1e-5);
      EXPECT_NEAR(out[2 * plane + row + x], known.blue[x], 1e-5);
    }
    double green_sum = 0;
    for (std::size_t i = 0; i < plane; ++i) {
      green_sum += double{out[plane + i]};
    }
    EXPECT_NEAR(green_sum, known.green_sum, 1e-5 * static_cast<double>(plane));
  }
}

// Columns of a resize from 1333 to 1777 pixels, recorded likewise: in single precision, positions
// as far out as these would be off by 1e-4 of a pixel.
TEST(NormalizeFirst, AgreesWithOpenCVOnWideImages) {
  const TestImage image = make_image(2, 1333, PixelFormat::bgr8, 0,
                                     [](int x, int, int) { return (x * x * 7 + x * 31) % 256; });
  InputSpec spec = normalized(make_spec(2, 1777, InputSpec::Interpolation::linear));
  spec.normalize_first = true;
  const std::vector<float> out = run(image.view, spec);
  const std::vector<std::pair<std::size_t, float>> known{
      {0, -2.117904F},     {1, -1.711054F},   {2, -1.132917F},  {900, -1.089956F},
      {1234, -0.3172123F}, {1500, -1.14506F}, {1700, -1.3372F}, {1770, 0.2595555F},
      {1775, -0.9191133F}, {1776, -1.090419F}};
  for (const auto& [x, expected] : known) {
    EXPECT_NEAR(out[1777 + x], expected, 1e-5) << x;
  }
}

}  // namespace
}  // namespace instseg
