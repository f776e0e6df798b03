#include "ops/box_decode.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/box_geometry.hpp"
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

void expect_near(const Box& found, const Box& expected, float tolerance) {
  EXPECT_NEAR(found.x1, expected.x1, tolerance);
  EXPECT_NEAR(found.y1, expected.y1, tolerance);
  EXPECT_NEAR(found.x2, expected.x2, tolerance);
  EXPECT_NEAR(found.y2, expected.y2, tolerance);
}

const std::vector<Box> kRois{{0, 0, 20, 30},   {5, 5, 40, 30},   {6, 6, 41, 29},
                             {50, 10, 90, 60}, {48, 12, 88, 62}, {10, 40, 30, 55}};

// Recorded from paddle.nn.functional.softmax, the reference's delta decode and clip, and
// multiclass_nms3 (paddle 3.3.1) on these inputs.
TEST(BoxDecode, AgreesWithRecordedPaddle) {
  std::vector<float> logits = recorded_values(24);
  for (float& logit : logits) {
    logit = logit * logit * logit * 6.0F;
  }
  std::vector<float> probabilities;
  const std::span<const float> set = logits;
  mean_softmax({&set, 1}, 4, probabilities);
  BoxDecodeScratch scratch;
  BoxDecodeSpec spec{.image_height = 64, .image_width = 80};
  spec.nms.keep_top_k = 7;
  const std::vector<BoxDetection> found =
      decode_boxes(kRois, recorded_values(72, 100, 12), probabilities, 3, spec, scratch);
  const std::vector<BoxDetection> expected{
      {0, 0, 0.51532352F, {0, 0, 80, 29.2158508F}},
      {0, 0, 0.388025403F, {67.4043503F, 22.0415249F, 79.7274551F, 29.4807758F}},
      {0, 0, 0.951969445F, {24.1182556F, 47.9695206F, 38.7638054F, 53.2742844F}},
      {1, 0, 0.756573498F, {0, 0, 74.5580292F, 40.7952614F}},
      {1, 0, 0.372093797F, {70.609314F, 48.389019F, 80, 64}},
      {2, 0, 0.870675087F, {0, 0, 80, 44.9219971F}},
      {2, 0, 0.213156417F, {50.8943825F, 0, 55.325634F, 64}}};
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].class_id, expected[i].class_id);
    EXPECT_NEAR(found[i].score, expected[i].score, 1e-6F);
    expect_near(found[i].box, expected[i].box, 2e-5F);
  }
}

// Recorded from paddle 3.3.1: the mean of three softmaxes.
TEST(BoxDecode, MeanOfCascadeStages) {
  std::vector<std::vector<float>> stages;
  std::vector<std::span<const float>> sets;
  for (int stage = 0; stage < 3; ++stage) {
    stages.push_back(recorded_values(8, stage * 50, 3));
  }
  sets.assign(stages.begin(), stages.end());
  std::vector<float> mean(3, kNaN);
  mean_softmax(sets, 4, mean);
  const std::vector<float> expected{0.21776396F,  0.29934597F,   0.120516695F, 0.362373382F,
                                    0.220037103F, 0.0885869488F, 0.269159138F, 0.422216803F};
  ASSERT_EQ(mean.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(mean[i], expected[i], 1e-6F);
  }
}

TEST(BoxDecode, SoftmaxOfExtremes) {
  const std::vector<float> logits{1e30F, -1e30F, 0, -kInfinity, kNaN, 0, kInfinity, 0};
  const std::span<const float> set = logits;
  std::vector<float> out;
  mean_softmax({&set, 1}, 2, out);
  EXPECT_EQ(out[0], 1.0F);
  EXPECT_EQ(out[1], 0.0F);
  EXPECT_EQ(out[2], 1.0F);
  EXPECT_EQ(out[3], 0.0F);
  for (std::size_t i = 4; i < 8; ++i) {
    EXPECT_TRUE(std::isnan(out[i])) << i;
  }
}

TEST(BoxDecode, DeltasOfZeroGiveTheBox) {
  const std::array<float, 4> zeros{};
  expect_near(apply_deltas({3, 4, 13, 24}, zeros.data(), kBoxWeights), {3, 4, 13, 24}, 1e-6F);
  // A width 10, moved by one width, and 62.5 times as wide at most.
  const std::array<float, 4> large{10, 0, 1000, 0};
  expect_near(apply_deltas({0, 0, 10, 20}, large.data(), kBoxWeights), {-297.5F, 0, 327.5F, 20},
              1e-3F);
}

TEST(BoxDecode, RefinesInPlace) {
  std::vector<Box> boxes = kRois;
  const std::vector<float> deltas = recorded_values(24);
  std::vector<Box> expected;
  refine_rois(kRois, deltas, kCascadeBoxWeights[1], 64, 80, expected);
  refine_rois(boxes, deltas, kCascadeBoxWeights[1], 64, 80, boxes);
  EXPECT_EQ(boxes, expected);
  const Box first = apply_deltas(kRois[3], deltas.data() + 12, kCascadeBoxWeights[1]);
  EXPECT_EQ(expected[3], clip_box(first, 64, 80));
  EXPECT_LE(expected[3].x2, 80.0F);
}

// Class by class and pair by pair, by the description in the header.
std::vector<BoxDetection> plain(const std::vector<Box>& rois, const std::vector<float>& deltas,
                                const std::vector<float>& probabilities, int classes,
                                const BoxDecodeSpec& spec) {
  const auto overlap = [](const Box& a, const Box& b) {
    const double w = double{std::min(a.x2, b.x2)} - double{std::max(a.x1, b.x1)};
    const double h = double{std::min(a.y2, b.y2)} - double{std::max(a.y1, b.y1)};
    const double inside = std::max(w, 0.0) * std::max(h, 0.0);
    const auto area = [](const Box& c) { return double{c.x2 - c.x1} * double{c.y2 - c.y1}; };
    return inside / (area(a) + area(b) - inside);
  };
  const bool own = deltas.size() != rois.size() * 4;
  const auto falling = [](const BoxDetection& a, const BoxDetection& b) {
    return a.score > b.score;
  };
  std::vector<BoxDetection> all;
  for (int c = 0; c < classes; ++c) {
    std::vector<BoxDetection> candidates, kept;
    for (int i = 0; i < static_cast<int>(rois.size()); ++i) {
      const float score = probabilities[static_cast<std::size_t>(i * (classes + 1) + c)];
      const int row = own ? i * classes + c : i;
      const Box box =
          apply_deltas(rois[static_cast<std::size_t>(i)], deltas.data() + row * 4, spec.weights);
      if (score > spec.nms.score_threshold) {
        candidates.push_back({c, i, score, clip_box(box, spec.image_height, spec.image_width)});
      }
    }
    std::ranges::stable_sort(candidates, falling);
    for (const BoxDetection& candidate : candidates) {
      if (std::ranges::all_of(kept, [&](const BoxDetection& other) {
            return overlap(candidate.box, other.box) <= double{spec.nms.iou_threshold};
          })) {
        kept.push_back(candidate);
      }
    }
    all.insert(all.end(), kept.begin(), kept.end());
  }
  std::ranges::stable_sort(all, falling);
  if (all.size() > static_cast<std::size_t>(spec.nms.keep_top_k)) {
    all.resize(static_cast<std::size_t>(spec.nms.keep_top_k));
  }
  std::ranges::sort(all, [](const BoxDetection& a, const BoxDetection& b) {
    return a.class_id != b.class_id ? a.class_id < b.class_id : a.roi < b.roi;
  });
  return all;
}

TEST(BoxDecode, AgreesWithThePlainVersion) {
  std::mt19937 random(3);
  BoxDecodeScratch scratch;
  for (int round = 0; round < 60; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const int count = pick(0, 80), classes = pick(1, 6);
    std::vector<Box> rois;
    for (int i = 0; i < count; ++i) {
      const auto x = static_cast<float>(pick(0, 60)), y = static_cast<float>(pick(0, 40));
      rois.push_back(
          {x, y, x + static_cast<float>(pick(2, 30)), y + static_cast<float>(pick(2, 30))});
    }
    const std::vector<float> deltas =
        random_values(random, count * 4 * (round % 2 == 0 ? 1 : classes), 1.0F);
    const std::vector<float> logits = random_values(random, count * (classes + 1), 1.5F);
    const std::span<const float> set = logits;
    std::vector<float> probabilities;
    mean_softmax({&set, 1}, classes + 1, probabilities);
    BoxDecodeSpec spec{.image_height = 70, .image_width = 90};
    spec.nms = {0.1F, 0.5F, -1, pick(0, 40)};
    const auto found = decode_boxes(rois, deltas, probabilities, classes, spec, scratch);
    const auto expected = plain(rois, deltas, probabilities, classes, spec);
    ASSERT_EQ(found.size(), expected.size()) << round;
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].class_id, expected[i].class_id) << round;
      ASSERT_EQ(found[i].roi, expected[i].roi) << round;
      ASSERT_EQ(found[i].score, expected[i].score) << round;
      ASSERT_EQ(found[i].box, expected[i].box) << round;
    }
  }
}

TEST(BoxDecode, NaNIsNeverFound) {
  BoxDecodeScratch scratch;
  const BoxDecodeSpec spec{.image_height = 64, .image_width = 80};
  std::vector<float> deltas(8);
  deltas[1] = kNaN;
  const std::vector<Box> rois{{0, 0, 9, 9}, {30, 30, 50, 50}};
  const auto found =
      decode_boxes(rois, deltas, std::vector<float>{0.9F, 0.1F, 0.8F, 0.2F}, 1, spec, scratch);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].roi, 1);
  EXPECT_TRUE(
      decode_boxes(rois, std::vector<float>(8), std::vector<float>(4, kNaN), 1, spec, scratch)
          .empty());
  EXPECT_TRUE(decode_boxes({}, {}, {}, 80, spec, scratch).empty());
  EXPECT_TRUE(
      decode_boxes(rois, std::vector<float>(8), std::vector<float>(2, 1.0F), 0, spec, scratch)
          .empty());
}

TEST(BoxDecode, BackToTheImage) {
  EXPECT_EQ(box_in_image({-4, 10, 50, 90}, 2, 4, 20, 30), (Box{0, 2.5F, 25, 20}));
  EXPECT_EQ(box_in_image({70, 0, 90, 8}, 2, 4, 20, 30), (Box{30, 0, 30, 2}));
}

TEST(BoxDecode, ChecksItsArguments) {
  BoxDecodeScratch scratch;
  const auto call = [&](std::size_t deltas, std::size_t probabilities, int classes, float height) {
    return error_of([&] {
      decode_boxes(kRois, std::vector<float>(deltas), std::vector<float>(probabilities), classes,
                   {.image_height = height, .image_width = 5}, scratch);
    });
  };
  EXPECT_EQ(call(24, 18, 2, 5), "no error");
  EXPECT_EQ(call(48, 18, 2, 5), "no error");
  EXPECT_TRUE(has(call(36, 18, 2, 5), "expected 18 and 24 or 48"));
  EXPECT_TRUE(has(call(24, 12, 2, 5), "12 probabilities"));
  EXPECT_TRUE(has(call(24, 18, -2, 5), "-2 classes"));
  EXPECT_TRUE(has(call(24, 18, 2, 0), "5.000000 x 0.000000"));
  std::vector<Box> boxes;
  std::vector<float> out;
  EXPECT_TRUE(
      has(error_of([&] { refine_rois(kRois, out, kBoxWeights, 5, 5, boxes); }), "0 deltas"));
  EXPECT_TRUE(has(error_of([&] { mean_softmax({}, 4, out); }), "0 sets"));
  const std::vector<float> logits(7);
  const std::span<const float> set = logits;
  EXPECT_TRUE(has(error_of([&] { mean_softmax({&set, 1}, 4, out); }), "7 logits"));
}

}  // namespace
}  // namespace instseg
