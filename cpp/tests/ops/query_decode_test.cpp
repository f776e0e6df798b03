#include "ops/query_decode.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

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
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One image's outputs with memory of their own.
struct Input {
  std::vector<float> logits, boxes, embeddings, features;
  int queries, classes, channels, height, width;
  int image_height = 30, image_width = 41;
  QuerySpec spec;

  [[nodiscard]] QueryOutputs view() const {
    return {logits, boxes, embeddings, features, queries, classes, channels, height, width};
  }
};

Input make_input(std::mt19937& random, int queries, int classes, int channels, int height,
                 int width) {
  return {random_values(random, queries * classes, 1.5F),
          random_values(random, queries * 4, 1.0F),
          random_values(random, queries * channels, 1.0F),
          random_values(random, channels * height * width, 1.0F),
          queries,
          classes,
          channels,
          height,
          width,
          30,
          41,
          {}};
}

std::vector<QueryInstance> run(const Input& input, int threads = 1) {
  ThreadPool pool(threads);
  QueryScratch scratch;
  const auto call = [&] {
    return decode_queries(input.view(), input.image_height, input.image_width, input.spec, pool,
                          scratch);
  };
  const std::vector<QueryInstance> first = call(), second = call();
  EXPECT_EQ(first.size(), second.size()) << "scratch reuse";
  for (std::size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    EXPECT_EQ(first[i].mask, second[i].mask);
    EXPECT_EQ(first[i].query, second[i].query);
  }
  return first;
}

void expect_same(const Input& input, const std::vector<QueryInstance>& found) {
  std::vector<int> order(input.logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](int i) { return input.logits[static_cast<std::size_t>(i)]; };
  std::erase_if(order, [&](int i) { return std::isnan(logit(i)); });
  std::ranges::stable_sort(order, [&](int a, int b) { return logit(a) > logit(b); });
  if (input.spec.top_k >= 0) {
    order.resize(std::min(order.size(), static_cast<std::size_t>(input.spec.top_k)));
  }
  const auto score = [&](int i) { return 1 / (1 + std::exp(-double{logit(i)})); };
  std::erase_if(order, [&](int i) { return score(i) <= double{input.spec.score_threshold}; });
  ASSERT_EQ(found.size(), order.size());
  for (std::size_t n = 0; n < order.size(); ++n) {
    const int query = order[n] / input.classes;
    EXPECT_EQ(found[n].query, query);
    EXPECT_EQ(found[n].class_id, order[n] % input.classes);
    EXPECT_NEAR(double{found[n].score}, score(order[n]), 1e-6);
    const float* box = input.boxes.data() + query * 4;
    EXPECT_NEAR(found[n].box.x1, (box[0] - box[2] / 2) * 41, 1e-4F);
    EXPECT_NEAR(found[n].box.y1, (box[1] - box[3] / 2) * 30, 1e-4F);
    EXPECT_NEAR(found[n].box.x2, (box[0] + box[2] / 2) * 41, 1e-4F);
    EXPECT_NEAR(found[n].box.y2, (box[1] + box[3] / 2) * 30, 1e-4F);
    Plane cells;
    for (int at = 0; at < input.height * input.width; ++at) {
      double sum = 0;
      for (int k = 0; k < input.channels; ++k) {
        sum +=
            double{input.embeddings[static_cast<std::size_t>(query * input.channels + k)]} *
            double{input.features[static_cast<std::size_t>(k * input.height * input.width + at)]};
      }
      cells.push_back(sum);
    }
    const Plane image =
        resize(cells, input.height, input.width, input.image_height, input.image_width);
    for (int y = 0; y < input.image_height; ++y) {
      for (int x = 0; x < input.image_width; ++x) {
        const double value = image[static_cast<std::size_t>(y * input.image_width + x)];
        const double probability = 1 / (1 + std::exp(-value));
        if (std::abs(probability - double{input.spec.mask_threshold}) > 1e-5) {
          ASSERT_EQ(found[n].mask.test(x, y), probability > double{input.spec.mask_threshold})
              << n << ": " << x << ", " << y;
        }
      }
    }
    EXPECT_EQ(found[n].mask.area() == 0, found[n].mask.width() == 0);
  }
}

TEST(QueryDecode, AgreesWithTheDenseVersion) {
  std::mt19937 random(14);
  for (int round = 0; round < 25; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    Input input =
        make_input(random, pick(1, 20), pick(1, 5), pick(1, 40), pick(1, 24), pick(1, 40));
    input.spec.top_k = round % 5 == 0 ? -1 : pick(0, 30);
    input.spec.mask_threshold = round % 3 == 0 ? 0.2F : 0.5F;
    input.spec.score_threshold = round % 4 == 0 ? 0.4F : 0.0F;
    if (round % 2 == 0) {
      for (float& logit : input.logits) {
        logit = std::round(logit);  // ties
      }
      input.logits.front() = kNaN;
    }
    SCOPED_TRACE(round);
    expect_same(input, run(input, 1 + round % 3));
  }
}

TEST(QueryDecode, OneQueryMayGiveSeveralInstances) {
  std::mt19937 random(15);
  Input input = make_input(random, 2, 3, 4, 8, 8);
  input.logits = {3, 1, 2, -1, 5, -2};
  input.spec.top_k = 3;
  const std::vector<QueryInstance> found = run(input);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].query, 1);
  EXPECT_EQ(found[0].class_id, 1);
  EXPECT_EQ(found[1].query, 0);
  EXPECT_EQ(found[1].class_id, 0);
  EXPECT_EQ(found[2].query, 0);
  EXPECT_EQ(found[2].class_id, 2);
  EXPECT_EQ(found[1].mask, found[2].mask);
  EXPECT_EQ(found[1].box, found[2].box);
}

TEST(QueryDecode, NumbersThatAreNone) {
  std::mt19937 random(16);
  Input input = make_input(random, 2, 1, 1, 2, 3);
  input.logits = {kInfinity, -kInfinity};
  input.boxes[0] = kNaN;
  input.embeddings = {1, 1};
  input.features = {1, kNaN, 1, kInfinity, -kInfinity, 3e38F};
  input.image_height = 2;
  input.image_width = 3;
  const std::vector<QueryInstance> found = run(input);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].score, 1.0F);
  EXPECT_TRUE(std::isnan(found[0].box.x1));
  std::string set;
  for (int i = 0; i < 6; ++i) {
    set += found[0].mask.test(i % 3, i / 3) ? '#' : '.';
  }
  EXPECT_EQ(set, "#.##.#");
}

TEST(QueryDecode, ThresholdsAtTheEnds) {
  std::mt19937 random(17);
  Input input = make_input(random, 3, 1, 4, 5, 5);
  input.spec.mask_threshold = 0.0F;
  EXPECT_EQ(run(input)[0].mask.area(), 30 * 41);
  input.spec.mask_threshold = 1.0F;
  EXPECT_EQ(run(input)[0].mask, PackedMask());
}

TEST(QueryDecode, NothingToDo) {
  std::mt19937 random(18);
  EXPECT_TRUE(run(make_input(random, 0, 80, 4, 5, 5)).empty());
  EXPECT_TRUE(run(make_input(random, 5, 0, 4, 5, 5)).empty());
}

TEST(QueryDecode, ChecksItsArguments) {
  std::mt19937 random(19);
  const Input good = make_input(random, 3, 2, 4, 5, 6);
  const auto call = [&](auto change) {
    Input input = good;
    change(input);
    return error_of([&] { run(input); });
  };
  EXPECT_EQ(call([](Input&) {}), "no error");
  EXPECT_TRUE(has(call([](Input& i) { i.logits.pop_back(); }), "5 values of logits, expected 6"));
  EXPECT_TRUE(has(call([](Input& i) { i.boxes.pop_back(); }), "11 values of boxes"));
  EXPECT_TRUE(has(call([](Input& i) { i.embeddings.pop_back(); }), "11 values of embeddings"));
  EXPECT_TRUE(has(call([](Input& i) { i.features.pop_back(); }), "expected 120 (4 x 30)"));
  EXPECT_TRUE(has(call([](Input& i) { i.channels = 0; }), "0 channels"));
  EXPECT_TRUE(has(call([](Input& i) { i.height = 0; }), "6 x 0"));
  EXPECT_TRUE(has(call([](Input& i) { i.image_width = -1; }), "-1 x 30"));
  EXPECT_TRUE(has(call([](Input& i) { i.spec.mask_threshold = kNaN; }), "threshold"));
}

}  // namespace
}  // namespace instseg
