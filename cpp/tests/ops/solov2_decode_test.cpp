#include "ops/solov2_decode.hpp"

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
using testing_planes::Plane;
using testing_planes::random_values;
using testing_planes::resize;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// One image's outputs with memory of their own.
struct Input {
  struct Level {
    std::vector<float> scores, kernels;
    int grid, minimum_area;
  };
  std::vector<Level> levels;
  std::vector<float> features;
  Solov2Geometry geometry;
  Solov2Spec spec;
};

std::vector<Solov2Instance> run(const Input& input, int threads = 1) {
  std::vector<Solov2Level> levels;
  for (const Input::Level& level : input.levels) {
    levels.push_back({level.scores, level.kernels, level.grid, level.minimum_area});
  }
  ThreadPool pool(threads);
  Solov2Scratch scratch;
  const auto call = [&] {
    return decode_solov2(levels, input.features, input.geometry, input.spec, pool, scratch);
  };
  const std::vector<Solov2Instance> first = call(), second = call();
  EXPECT_EQ(first.size(), second.size()) << "scratch reuse";
  for (std::size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    EXPECT_EQ(first[i].score, second[i].score);
    EXPECT_EQ(first[i].mask, second[i].mask);
  }
  return first;
}

Input make_input(std::mt19937& random, std::vector<std::array<int, 2>> grids_and_areas,
                 const Solov2Geometry& geometry, int classes, int channels, double share) {
  Input input;
  input.geometry = geometry;
  input.spec.classes = classes;
  input.spec.channels = channels;
  std::bernoulli_distribution candidate(share);
  std::uniform_real_distribution<float> score(0.05F, 0.9F);
  for (const auto& [grid, area] : grids_and_areas) {
    Input::Level level{{}, random_values(random, channels * grid * grid, 1.0F), grid, area};
    for (int i = 0; i < grid * grid * classes; ++i) {
      level.scores.push_back(candidate(random) ? score(random) : 0.0F);
    }
    input.levels.push_back(level);
  }
  // Smooth features make masks with an area.
  for (int channel = 0; channel < channels; ++channel) {
    Plane coarse;
    for (const float value : random_values(random, 9, 1.0F)) {
      coarse.push_back(double{value});
    }
    for (const double value :
         resize(coarse, 3, 3, geometry.feature_height, geometry.feature_width)) {
      input.features.push_back(static_cast<float>(value));
    }
  }
  return input;
}

struct Expected {
  int class_id;
  double score;
  Plane image;  // probabilities of the original image's pixels
};

// Everything dense and in double precision, without the matrix NMS, which has tests of its own: by
// candidate, those that are left before it.
std::vector<Expected> plain_candidates(const Input& input) {
  const Solov2Geometry& g = input.geometry;
  std::vector<Expected> result;
  for (const Input::Level& level : input.levels) {
    for (int i = 0; i < static_cast<int>(level.scores.size()); ++i) {
      const float score = level.scores[static_cast<std::size_t>(i)];
      if (!(score > input.spec.score_threshold)) {
        continue;
      }
      const int cell = i / input.spec.classes;
      Plane mask;
      int area = 0;
      double sum = 0;
      for (int at = 0; at < g.feature_height * g.feature_width; ++at) {
        double logit = 0;
        for (int k = 0; k < input.spec.channels; ++k) {
          logit += double{level.kernels[static_cast<std::size_t>(cell * input.spec.channels + k)]} *
                   double{input.features[static_cast<std::size_t>(
                       k * g.feature_height * g.feature_width + at)]};
        }
        mask.push_back(1 / (1 + std::exp(-logit)));
        area += mask.back() > double{input.spec.mask_threshold} ? 1 : 0;
        sum += mask.back() > double{input.spec.mask_threshold} ? mask.back() : 0;
      }
      if (area <= level.minimum_area) {
        continue;
      }
      const Plane padded = resize(mask, g.feature_height, g.feature_width, g.feature_height * 4,
                                  g.feature_width * 4);
      Plane cut;
      for (int y = 0; y < g.resized_height; ++y) {
        const auto row = padded.begin() + std::ptrdiff_t{y} * g.feature_width * 4;
        cut.insert(cut.end(), row, row + g.resized_width);
      }
      result.push_back(
          {i % input.spec.classes, double{score} * sum / area,
           resize(cut, g.resized_height, g.resized_width, g.image_height, g.image_width)});
    }
  }
  return result;
}

void expect_mask(const Solov2Instance& found, const Plane& expected, const Input& input) {
  for (int y = 0; y < input.geometry.image_height; ++y) {
    for (int x = 0; x < input.geometry.image_width; ++x) {
      const double probability =
          expected[static_cast<std::size_t>(y * input.geometry.image_width + x)];
      if (std::abs(probability - double{input.spec.mask_threshold}) > 1e-5) {
        ASSERT_EQ(found.mask.test(x, y), probability > double{input.spec.mask_threshold})
            << x << ", " << y;
      }
    }
  }
  EXPECT_EQ(found.box, found.mask.bounds());
  EXPECT_EQ(found.mask.width(), static_cast<int>(found.box.x2 - found.box.x1));
  EXPECT_EQ(found.mask.height(), static_cast<int>(found.box.y2 - found.box.y1));
}

const std::vector<Solov2Geometry> kGeometries{
    {10, 14, 40, 56, 31, 43},  // no padding, smaller image
    {10, 14, 37, 50, 70, 99},  // padded, larger image
    {7, 5, 25, 20, 25, 20},    // the resized image is the original
    {3, 3, 1, 9, 1, 40},       // one row
    {16, 17, 61, 66, 9, 7},
};

TEST(Solov2Decode, MasksAndScoresAgreeWithTheDenseVersion) {
  std::mt19937 random(8);
  for (const Solov2Geometry& geometry : kGeometries) {
    for (const float threshold : {0.5F, 0.3F}) {
      // One class per candidate: the matrix NMS leaves the scores as they are.
      Input input = make_input(random, {{4, 3}, {3, 8}, {2, 40}}, geometry, 200, 7, 0.0);
      int class_id = 0;
      for (Input::Level& level : input.levels) {
        for (int cell = 0; cell < level.grid * level.grid; ++cell) {
          level.scores[static_cast<std::size_t>(cell * 200 + class_id)] =
              0.9F - static_cast<float>(class_id) * 0.01F;
          ++class_id;
        }
      }
      input.spec.mask_threshold = threshold;
      const std::vector<Solov2Instance> found = run(input, 2);
      std::vector<Expected> expected = plain_candidates(input);
      std::erase_if(expected, [](const Expected& e) { return e.score < 0.05; });
      std::ranges::stable_sort(
          expected, [](const Expected& a, const Expected& b) { return a.score > b.score; });
      ASSERT_EQ(found.size(), expected.size());
      ASSERT_GT(found.size(), 0U);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].class_id, expected[i].class_id);
        EXPECT_NEAR(double{found[i].score}, expected[i].score, 1e-5);
        expect_mask(found[i], expected[i].image, input);
      }
    }
  }
}

TEST(Solov2Decode, ThreadsAndSharedKernels) {
  std::mt19937 random(9);
  const Input input = make_input(random, {{6, 4}, {5, 4}}, {30, 40, 110, 150, 77, 105}, 3, 16, 0.5);
  const std::vector<Solov2Instance> one = run(input, 1), three = run(input, 3);
  ASSERT_EQ(one.size(), three.size());
  ASSERT_GT(one.size(), 10U);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].class_id, three[i].class_id);
    EXPECT_EQ(one[i].score, three[i].score);
    EXPECT_EQ(one[i].mask, three[i].mask);
    EXPECT_TRUE(i == 0 || one[i - 1].score >= one[i].score);
  }
  // A threshold for results only leaves out the rest.
  Input higher = input;
  higher.spec.result_threshold = one[5].score;
  const std::vector<Solov2Instance> best = run(higher, 2);
  ASSERT_LE(best.size(), 5U);
  for (std::size_t i = 0; i < best.size(); ++i) {
    EXPECT_EQ(best[i].score, one[i].score);
    EXPECT_EQ(best[i].mask, one[i].mask);
  }
}

TEST(Solov2Decode, SmallMasksAreLeftOut) {
  std::mt19937 random(10);
  Input input = make_input(random, {{1, 19}}, {4, 5, 16, 20, 16, 20}, 1, 1, 1.0);
  input.levels[0].scores = {0.9F};
  input.levels[0].kernels = {50.0F};
  input.features.assign(20, 1.0F);
  ASSERT_EQ(run(input).size(), 1U);
  EXPECT_NEAR(run(input)[0].score, 0.9F, 1e-6F);
  EXPECT_EQ(run(input)[0].mask.area(), 16 * 20);
  input.levels[0].minimum_area = 20;
  EXPECT_TRUE(run(input).empty());
}

TEST(Solov2Decode, NumbersThatAreNone) {
  std::mt19937 random(11);
  Input input = make_input(random, {{2, 1}}, {4, 5, 16, 20, 16, 20}, 1, 1, 1.0);
  input.levels[0].scores = {kNaN, 0.9F, 0.8F, 0.1F};
  input.levels[0].kernels = {1.0F, kNaN, 50.0F, 50.0F};
  input.features.assign(20, 1.0F);
  input.features[7] = kNaN;  // row 1, column 2
  const std::vector<Solov2Instance> found = run(input);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_FALSE(found[0].mask.test(10, 6));
  EXPECT_TRUE(found[0].mask.test(2, 6));
}

TEST(Solov2Decode, NothingToDo) {
  std::mt19937 random(12);
  EXPECT_TRUE(run(make_input(random, {}, {4, 5, 16, 20, 16, 20}, 3, 2, 1.0)).empty());
  EXPECT_TRUE(run(make_input(random, {{3, 1}}, {4, 5, 16, 20, 16, 20}, 3, 2, 0.0)).empty());
  EXPECT_TRUE(run(make_input(random, {{3, 1}}, {4, 5, 16, 20, 16, 20}, 0, 2, 0.0)).empty());
}

TEST(Solov2Decode, ChecksItsArguments) {
  std::mt19937 random(13);
  const Input good = make_input(random, {{3, 1}}, {4, 5, 16, 20, 16, 20}, 2, 3, 0.5);
  const auto call = [&](auto change) {
    Input input = good;
    change(input);
    return error_of([&] { run(input); });
  };
  EXPECT_EQ(call([](Input&) {}), "no error");
  EXPECT_TRUE(has(call([](Input& i) { i.levels[0].grid = 0; }), "a grid of 0"));
  EXPECT_TRUE(has(call([](Input& i) { i.levels[0].scores.pop_back(); }), "17 scores"));
  EXPECT_TRUE(has(call([](Input& i) { i.levels[0].kernels.pop_back(); }), "26 kernel values"));
  EXPECT_TRUE(has(call([](Input& i) { i.features.pop_back(); }), "expected 60 (3 x 4 x 5)"));
  EXPECT_TRUE(has(call([](Input& i) { i.geometry.resized_width = 21; }), "at most 4 times"));
  EXPECT_TRUE(has(call([](Input& i) { i.geometry.image_height = 0; }), "20 x 0"));
  EXPECT_TRUE(has(call([](Input& i) { i.spec.channels = 0; }), "0 channels"));
  EXPECT_TRUE(has(call([](Input& i) { i.spec.mask_threshold = 2; }), "threshold"));
  EXPECT_TRUE(has(call([](Input& i) { i.spec.score_threshold = kNaN; }), "NaN"));
}

}  // namespace
}  // namespace instseg
