#include "ops/roi_align.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/mask_testing.hpp"
#include "ops/plane_testing.hpp"

namespace instseg {
namespace {

using testing_masks::error_of;
using testing_masks::has;
using testing_planes::random_values;
using testing_planes::recorded_values;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Map {
  std::vector<float> features;
  int height, width;
  float stride;
};

std::vector<float> run(const std::vector<Map>& maps, const std::vector<Box>& rois,
                       const RoiAlignSpec& spec, int threads = 1) {
  std::vector<FeatureLevel> levels;
  for (const Map& map : maps) {
    levels.push_back({map.features, map.height, map.width, map.stride});
  }
  ThreadPool pool(threads);
  RoiAlignScratch scratch;
  const auto side = static_cast<std::size_t>(spec.output_size);
  std::vector<float> out(rois.size() * static_cast<std::size_t>(spec.channels) * side * side, kNaN);
  roi_align(levels, rois, spec, pool, scratch, out);
  std::vector<float> again(out.size());
  roi_align(levels, rois, spec, pool, scratch, again);
  EXPECT_EQ(out, again) << "scratch reuse";
  return out;
}

// One sample, by the description in the header.
double sample(const Map& map, int channel, double x, double y) {
  if (x < -1 || y < -1 || x > map.width || y > map.height) {
    return 0;
  }
  x = std::clamp(x, 0.0, map.width - 1.0);
  y = std::clamp(y, 0.0, map.height - 1.0);
  const int x0 = static_cast<int>(x), y0 = static_cast<int>(y);
  const auto at = [&](int row, int column) {
    row = std::min(row, map.height - 1);
    column = std::min(column, map.width - 1);
    return double{
        map.features[static_cast<std::size_t>((channel * map.height + row) * map.width + column)]};
  };
  const double tx = x - x0, ty = y - y0;
  return (1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x0 + 1)) +
         ty * ((1 - tx) * at(y0 + 1, x0) + tx * at(y0 + 1, x0 + 1));
}

// One RoI on one map, sample by sample.
std::vector<double> plain(const Map& map, const Box& roi, const RoiAlignSpec& spec) {
  // The corners and the number of samples in single precision: rounding decides how many there are.
  const float scale = 1.0F / map.stride, offset = spec.aligned ? 0.5F : 0.0F;
  const float x1 = roi.x1 * scale - offset, y1 = roi.y1 * scale - offset;
  float width = roi.x2 * scale - offset - x1, height = roi.y2 * scale - offset - y1;
  if (!spec.aligned) {
    width = std::max(width, 1.0F);
    height = std::max(height, 1.0F);
  }
  const auto side = static_cast<float>(spec.output_size);
  const auto samples = [&](float size) {
    return spec.sampling_ratio > 0 ? spec.sampling_ratio : static_cast<int>(std::ceil(size / side));
  };
  const int nx = samples(width), ny = samples(height);
  std::vector<double> out;
  for (int channel = 0; channel < spec.channels; ++channel) {
    for (int bin = 0; bin < spec.output_size * spec.output_size; ++bin) {
      const double bin_w = double{width} / double{side}, bin_h = double{height} / double{side};
      double sum = 0;
      for (int i = 0; i < nx * ny; ++i) {
        sum += sample(map, channel,
                      double{x1} + (bin % spec.output_size + (i % nx + 0.5) / nx) * bin_w,
                      double{y1} + (bin / spec.output_size + (i / nx + 0.5) / ny) * bin_h);
      }
      out.push_back(nx > 0 && ny > 0 ? sum / (nx * ny) : 0.0);
    }
  }
  return out;
}

// Recorded from paddle.vision.ops.roi_align (3.3.1) on these inputs.
TEST(RoiAlign, AgreesWithRecordedPaddle) {
  const Map map{recorded_values(60), 5, 6, 4};
  const std::vector<Box> rois{
      {1, 2, 9, 11}, {-6, -5, 30, 28}, {3, 3, 3.5F, 3.5F}, {14, 10, 24, 20}};
  const std::vector<float> plain_corners{
      0.206384748F,   0.5749892F,    -0.762566566F,   0.387287855F,   -0.133919731F, -0.437190294F,
      0.069003962F,   -0.234266609F, -0.00256184093F, -0.0700406656F, -0.139682591F, 0.138496518F,
      -0.140705436F,  0.203239188F,  0.0985213146F,   -0.179875582F,  0.877106071F,  0.725470781F,
      -0.0327056348F, 0.315659076F,  -0.221010908F,   -0.372646183F,  -0.130822599F, -0.282457888F,
      0.312685847F,   0.04732408F,   0.470515341F,    0.205153614F,   -0.443634242F, 0.511707187F,
      -0.627601564F,  -0.89296335F};
  const std::vector<float> aligned_corners{
      -0.474355817F, 0.722373664F,  -0.615182042F,  -0.105952665F,  -0.0724727437F, -0.37574333F,
      0.130450934F,  -0.172819629F, -0.0857196972F, -0.0645748377F, -0.171307355F,  0.171401352F,
      -0.124964595F, 0.196330354F,  0.127496541F,   -0.154994771F,  -0.472063959F,  -0.366018355F,
      -0.460790396F, -0.354744792F, -0.132680863F,  -0.151635289F,  -0.121407345F,  -0.140361741F,
      0.374132812F,  0.0234762114F, 0.582693279F,   0.23203665F,    -0.723984182F,  0.487859249F,
      -0.515423656F, -0.524283409F};
  for (const bool aligned : {false, true}) {
    const std::vector<float> out =
        run({map}, rois, {.channels = 2, .output_size = 2, .aligned = aligned});
    const std::vector<float>& expected = aligned ? aligned_corners : plain_corners;
    ASSERT_EQ(out.size(), expected.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_NEAR(out[i], expected[i], 1e-6F) << aligned << " " << i;
    }
  }
}

// Recorded from paddle.vision.ops.distribute_fpn_proposals (3.3.1): squares of these sides.
TEST(RoiAlign, LevelsAreThoseOfPaddle) {
  const std::vector<float> sides{1e-3F, 111.9995F, 111.9999F, 112, 223.999F, 223.9999F,
                                 224,   447.998F,  447.9999F, 448, 2000};
  const std::vector<int> levels{0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3};
  for (std::size_t i = 0; i < sides.size(); ++i) {
    EXPECT_EQ(roi_level({0, 0, sides[i], sides[i]}, 4, {}), levels[i]) << sides[i];
  }
  EXPECT_EQ(roi_level({5, 5, 5, 5}, 4, {}), 0);
  EXPECT_EQ(roi_level({900, 0, 0, 900}, 4, {}), 0);
  EXPECT_EQ(roi_level({0, 0, kNaN, 900}, 4, {}), 0);
  EXPECT_EQ(roi_level({-kInfinity, 0, kInfinity, 900}, 4, {}), 3);
  EXPECT_EQ(roi_level({0, 0, 2000, 2000}, 1, {}), 0);
}

TEST(RoiAlign, AgreesWithThePlainVersion) {
  std::mt19937 random(2);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int round = 0; round < 40; ++round) {
    RoiAlignSpec spec{.channels = pick(1, 19), .output_size = pick(1, 7)};
    spec.sampling_ratio = round % 3 == 0 ? pick(1, 3) : 0;
    spec.aligned = round % 2 == 0;
    std::vector<Map> maps;
    for (int i = 0; i < 1 + round % 4; ++i) {
      const int height = pick(1, 40 >> i), width = pick(1, 40 >> i);
      maps.push_back({random_values(random, spec.channels * height * width, 1.0F), height, width,
                      static_cast<float>(4 << i)});
    }
    std::vector<Box> rois;
    for (int i = 0; i < 70; ++i) {
      const auto coordinate = [&] { return static_cast<float>(pick(-200, 1600)) / 8.0F; };
      const float x = coordinate(), y = coordinate(), scale = i % 5 == 0 ? 0.01F : 1.0F;
      rois.push_back(
          {x, y, x + std::abs(coordinate()) * scale, y + std::abs(coordinate()) * scale});
    }
    const std::vector<float> out = run(maps, rois, spec);
    ASSERT_EQ(run(maps, rois, spec, 3), out) << "threads";
    std::size_t at = 0;
    for (const Box& roi : rois) {
      const int level = roi_level(roi, static_cast<int>(maps.size()), spec);
      for (const double expected : plain(maps[static_cast<std::size_t>(level)], roi, spec)) {
        ASSERT_NEAR(double{out[at++]}, expected, 5e-5)
            << round << ": " << roi.x1 << " " << roi.y1 << " " << roi.x2 << " " << roi.y2;
      }
    }
  }
}

TEST(RoiAlign, AConstantMapGivesItsValueInside) {
  const Map map{std::vector<float>(12 * 9, 3.5F), 9, 12, 16};
  for (const float value : run({map}, {{0, 0, 176, 128}, {20, 20, 21, 140}}, {.channels = 1})) {
    EXPECT_NEAR(value, 3.5F, 1e-5F);
  }
}

TEST(RoiAlign, BoxesThatAreNone) {
  const Map map{std::vector<float>(6, 1.0F), 2, 3, 4};
  const std::vector<Box> rois{{kNaN, 0, 4, 4},      {0, 0, kInfinity, 4}, {0, -kInfinity, 4, 4},
                              {1e20F, 0, 2e20F, 4}, {900, 900, 990, 990}, {-900, 0, -800, 8},
                              {0, 0, 3e8F, 3e8F}};
  for (const float value : run({map}, rois, {.channels = 1, .output_size = 2})) {
    EXPECT_EQ(value, 0.0F);
  }
  for (const float value : run({map}, {{4, 4, 4, 4}, {8, 8, 2, 2}},
                               {.channels = 1, .output_size = 2, .aligned = true})) {
    EXPECT_EQ(value, 0.0F);
  }
  // Inverted, not aligned: one cell from the first corner.
  EXPECT_EQ(run({map}, {{4, 4, 0, 0}}, {.channels = 1, .output_size = 1}),
            std::vector<float>{1.0F});
  // Far larger than the map, and still some samples on it.
  const std::vector<float> huge =
      run({map}, {{-6e7F, -6e7F, 6e7F, 6e7F}}, {.channels = 1, .output_size = 1});
  EXPECT_GE(huge[0], 0.0F);
  EXPECT_LT(huge[0], 1e-6F);
}

TEST(RoiAlign, NothingToDo) { EXPECT_TRUE(run({{{1, 2}, 1, 2, 4}}, {}, {.channels = 1}).empty()); }

TEST(RoiAlign, ChecksItsArguments) {
  const std::vector<float> features(2 * 3 * 4);
  const auto call = [&](FeatureLevel level, RoiAlignSpec spec, std::size_t out_size,
                        int levels = 1) {
    return error_of([&] {
      ThreadPool pool(1);
      RoiAlignScratch scratch;
      std::vector<float> out(out_size);
      const Box roi{0, 0, 4, 4};
      roi_align({&level, static_cast<std::size_t>(levels)}, {&roi, 1}, spec, pool, scratch, out);
    });
  };
  const FeatureLevel good{features, 3, 4, 8};
  EXPECT_EQ(call(good, {.channels = 2}, 98), "no error");
  EXPECT_TRUE(has(call(good, {.channels = 2}, 97), "expected 98 (1 x 2 x 7 x 7)"));
  EXPECT_TRUE(has(call(good, {.channels = 3}, 147), "expected 36"));
  EXPECT_TRUE(has(call(good, {.channels = 0}, 0), "0 channels"));
  EXPECT_TRUE(has(call(good, {.channels = 2, .output_size = 0}, 0), "0 bins"));
  EXPECT_TRUE(has(call(good, {.channels = 2, .sampling_ratio = -1}, 98), "-1 samples"));
  EXPECT_TRUE(has(call({features, 0, 4, 8}, {.channels = 2}, 98), "4 x 0"));
  EXPECT_TRUE(has(call({features, 3, 4, kNaN}, {.channels = 2}, 98), "stride"));
  EXPECT_TRUE(has(call(good, {.channels = 2}, 98, 0), "no feature map"));
}

}  // namespace
}  // namespace instseg
