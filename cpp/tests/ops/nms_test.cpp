#include "ops/nms.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <tuple>

#include "ops/mask_testing.hpp"

namespace instseg {
namespace {

using testing_masks::error_of;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Found = std::vector<std::tuple<int, int, float>>;  // class, anchor, score

Found found(const std::vector<Candidate>& candidates) {
  Found result;
  for (const Candidate& candidate : candidates) {
    result.emplace_back(candidate.class_id, candidate.anchor, candidate.score);
  }
  return result;
}

Found run(const std::vector<Box>& boxes, const std::vector<float>& scores, int classes,
          const NmsSpec& spec) {
  NmsScratch scratch;
  const Found first = found(multiclass_nms(boxes, scores, classes, spec, scratch));
  EXPECT_EQ(found(multiclass_nms(boxes, scores, classes, spec, scratch)), first) << "scratch reuse";
  return first;
}

// Written from the description in the header, one pair at a time.
float plain_iou(const Box& a, const Box& b) {
  if (b.x1 > a.x2 || b.x2 < a.x1 || b.y1 > a.y2 || b.y2 < a.y1) {
    return 0;
  }
  const auto area = [](const Box& box) {
    return box.x2 < box.x1 || box.y2 < box.y1 ? 0 : (box.x2 - box.x1) * (box.y2 - box.y1);
  };
  const float inside =
      (std::min(a.x2, b.x2) - std::max(a.x1, b.x1)) * (std::min(a.y2, b.y2) - std::max(a.y1, b.y1));
  return inside / (area(a) + area(b) - inside);
}

Found plain_nms(const std::vector<Box>& boxes, const std::vector<float>& scores, int classes,
                const NmsSpec& spec) {
  using Entry = std::tuple<int, int, float>;
  const auto falling = [](const Entry& a, const Entry& b) {
    return std::get<2>(a) > std::get<2>(b);
  };
  Found all;
  for (int class_id = 0; class_id < classes; ++class_id) {
    Found candidates;
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const float score = scores[static_cast<std::size_t>(class_id) * boxes.size() + i];
      const Box& box = boxes[i];
      const bool valid = !std::isnan(box.x1 + box.y1) && !std::isnan(box.x2 + box.y2);
      if (score > spec.score_threshold && valid) {
        candidates.emplace_back(class_id, static_cast<int>(i), score);
      }
    }
    std::ranges::stable_sort(candidates, falling);
    if (spec.nms_top_k >= 0 && candidates.size() > static_cast<std::size_t>(spec.nms_top_k)) {
      candidates.resize(static_cast<std::size_t>(spec.nms_top_k));
    }
    Found kept;
    for (const Entry& entry : candidates) {
      const Box& box = boxes[static_cast<std::size_t>(std::get<1>(entry))];
      const bool keep = std::ranges::all_of(kept, [&](const Entry& other) {
        return plain_iou(box, boxes[static_cast<std::size_t>(std::get<1>(other))]) <=
               spec.iou_threshold;
      });
      if (keep) {
        kept.push_back(entry);
      }
    }
    all.insert(all.end(), kept.begin(), kept.end());
  }
  if (spec.keep_top_k >= 0 && all.size() > static_cast<std::size_t>(spec.keep_top_k)) {
    std::ranges::stable_sort(all, falling);
    all.resize(static_cast<std::size_t>(spec.keep_top_k));
    std::ranges::stable_sort(all, {}, [](const Entry& entry) { return std::get<0>(entry); });
  }
  return all;
}

TEST(MulticlassNms, SuppressesPerClass) {
  const std::vector<Box> boxes{{0, 0, 10, 10}, {1, 0, 11, 10}, {20, 20, 30, 30}};
  const std::vector<float> scores{0.5F, 0.9F, 0.3F, 0.8F, 0.0F, 0.1F};
  EXPECT_EQ(run(boxes, scores, 2, {0.2F, 0.7F, 100, 100}),
            (Found{{0, 1, 0.9F}, {0, 2, 0.3F}, {1, 0, 0.8F}}));
}

TEST(MulticlassNms, ThresholdsAreStrict) {
  const std::vector<Box> boxes{{0, 0, 4, 4}, {0, 0, 4, 2}};  // IoU exactly 0.5
  EXPECT_EQ(run(boxes, {0.9F, 0.25F}, 1, {0.25F, 0.5F, -1, -1}), (Found{{0, 0, 0.9F}}));
  EXPECT_EQ(run(boxes, {0.9F, 0.5F}, 1, {0.25F, 0.5F, -1, -1}).size(), 2U);
  EXPECT_EQ(run(boxes, {0.9F, 0.5F}, 1, {0.25F, 0.49F, -1, -1}).size(), 1U);
}

TEST(MulticlassNms, TiesGoToTheLowerAnchorAndClass) {
  const std::vector<Box> boxes{{0, 0, 1, 1}, {5, 0, 6, 1}, {9, 0, 10, 1}};
  const std::vector<float> scores(6, 0.5F);
  EXPECT_EQ(run(boxes, scores, 2, {0.1F, 0.5F, 2, 3}),
            (Found{{0, 0, 0.5F}, {0, 1, 0.5F}, {1, 0, 0.5F}}));
}

TEST(MulticlassNms, TopKLimits) {
  const std::vector<Box> boxes{{0, 0, 1, 1}, {5, 0, 6, 1}, {9, 0, 10, 1}};
  const std::vector<float> scores{0.1F, 0.3F, 0.2F, 0.6F, 0.5F, 0.4F};
  EXPECT_EQ(run(boxes, scores, 2, {0, 0.5F, 1, -1}), (Found{{0, 1, 0.3F}, {1, 0, 0.6F}}));
  EXPECT_EQ(run(boxes, scores, 2, {0, 0.5F, -1, 4}),
            (Found{{0, 1, 0.3F}, {1, 0, 0.6F}, {1, 1, 0.5F}, {1, 2, 0.4F}}));
  EXPECT_TRUE(run(boxes, scores, 2, {0, 0.5F, 0, -1}).empty());
  EXPECT_TRUE(run(boxes, scores, 2, {0, 0.5F, -1, 0}).empty());
}

TEST(MulticlassNms, BoxesWithoutArea) {
  // Equal points: IoU is 0 / 0, the second one goes. A point inside a box: IoU 0, both stay.
  EXPECT_EQ(run({{3, 3, 3, 3}, {3, 3, 3, 3}}, {0.9F, 0.8F}, 1, {0, 0.5F, -1, -1}).size(), 1U);
  EXPECT_EQ(run({{0, 0, 9, 9}, {3, 3, 3, 3}}, {0.9F, 0.8F}, 1, {0, 0.5F, -1, -1}).size(), 2U);
  // Touching edges.
  EXPECT_EQ(run({{0, 0, 3, 3}, {3, 0, 6, 3}}, {0.9F, 0.8F}, 1, {0, 0, -1, -1}).size(), 2U);
}

TEST(MulticlassNms, NaNIsNeverKept) {
  const std::vector<Box> boxes{{0, 0, 1, 1}, {kNaN, 0, 1, 1}, {0, 0, 1, kNaN}, {5, 5, 6, 6}};
  EXPECT_EQ(run(boxes, {kNaN, 0.9F, 0.9F, 0.5F}, 1, {0.1F, 0.5F, 2, -1}), (Found{{0, 3, 0.5F}}));
}

TEST(MulticlassNms, NothingToDo) {
  EXPECT_TRUE(run({}, {}, 80, {0.1F, 0.5F, 100, 100}).empty());
  EXPECT_TRUE(run({{0, 0, 1, 1}}, {}, 0, {0.1F, 0.5F, 100, 100}).empty());
  EXPECT_TRUE(run({{0, 0, 1, 1}}, {0.1F}, 1, {0.1F, 0.5F, 100, 100}).empty());
}

TEST(MulticlassNms, AgreesWithThePlainVersion) {
  std::mt19937 random(6);
  for (int round = 0; round < 300; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const int anchors = pick(0, 300), classes = pick(1, 5);
    std::vector<Box> boxes;
    for (int i = 0; i < anchors; ++i) {
      // Whole numbers make ties and touching edges; one in ten is inverted or not finite.
      const float x = static_cast<float>(pick(0, 40)), y = static_cast<float>(pick(0, 40));
      boxes.push_back(
          {x, y, x + static_cast<float>(pick(0, 20)), y + static_cast<float>(pick(0, 20))});
      if (pick(0, 9) == 0) {
        const std::array<float, 4> odd{kNaN, kInfinity, -kInfinity, -5.0F};
        (&boxes.back().x1)[pick(0, 3)] = odd[static_cast<std::size_t>(pick(0, 3))];
      }
    }
    std::vector<float> scores(static_cast<std::size_t>(anchors * classes));
    for (float& score : scores) {
      score = pick(0, 19) == 0 ? kNaN : static_cast<float>(pick(0, 50)) / 50.0F;
    }
    const NmsSpec spec{static_cast<float>(pick(0, 8)) / 10.0F,
                       static_cast<float>(pick(0, 10)) / 10.0F, pick(-1, 100), pick(-1, 60)};
    ASSERT_EQ(run(boxes, scores, classes, spec), plain_nms(boxes, scores, classes, spec)) << round;
  }
}

TEST(MulticlassNms, EachClassMayHaveBoxesOfItsOwn) {
  std::mt19937 random(9);
  NmsScratch scratch;
  for (int round = 0; round < 50; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const auto anchors = static_cast<std::size_t>(pick(0, 60));
    const NmsSpec spec{0.2F, 0.5F, pick(-1, 20), -1};
    std::vector<Box> boxes;
    std::vector<float> scores;
    for (std::size_t i = 0; i < 3 * anchors; ++i) {
      const float x = static_cast<float>(pick(0, 20)), y = static_cast<float>(pick(0, 20));
      boxes.push_back({x, y, x + 10, y + static_cast<float>(pick(1, 10))});
      scores.push_back(static_cast<float>(pick(0, 50)) / 50.0F);
    }
    Found expected;
    for (std::size_t c = 0; c < 3; ++c) {
      const auto part = [&](auto& all) { return std::span(all).subspan(c * anchors, anchors); };
      for (const Candidate& one : multiclass_nms(part(boxes), part(scores), 1, spec, scratch)) {
        expected.emplace_back(static_cast<int>(c), one.anchor, one.score);
      }
    }
    EXPECT_EQ(found(multiclass_nms_own_boxes(boxes, scores, 3, spec, scratch)), expected);
  }
  const std::vector<Box> boxes(6);
  const std::vector<float> scores(6);
  EXPECT_TRUE(multiclass_nms_own_boxes({}, {}, 0, {}, scratch).empty());
  EXPECT_NE(error_of([&] {
              multiclass_nms_own_boxes(boxes, scores, 4, {}, scratch);
            }).find("6 scores and 6 boxes"),
            std::string::npos);
}

TEST(SuppressSorted, StopsWhenEnoughAreKept) {
  NmsScratch scratch;
  std::vector<int> kept{7};
  const std::vector<Box> boxes{{0, 0, 9, 9}, {0, 0, 9, 8}, {20, 0, 29, 9}, {40, 0, 49, 9}};
  suppress_sorted(boxes, 0.5F, -1, scratch, kept);
  EXPECT_EQ(kept, (std::vector<int>{0, 2, 3}));
  suppress_sorted(boxes, 0.5F, 2, scratch, kept);
  EXPECT_EQ(kept, (std::vector<int>{0, 2}));
  suppress_sorted(boxes, 0.5F, 0, scratch, kept);
  EXPECT_TRUE(kept.empty());
}

TEST(MulticlassNms, ChecksItsArguments) {
  NmsScratch scratch;
  const std::vector<Box> boxes(3);
  const std::vector<float> scores(7);
  const auto call = [&](int classes, const NmsSpec& spec) {
    return error_of([&] { multiclass_nms(boxes, scores, classes, spec, scratch); });
  };
  EXPECT_NE(call(2, {}).find("7 scores, expected 6 (2 classes x 3 boxes)"), std::string::npos);
  EXPECT_NE(call(-1, {}).find("-1 classes"), std::string::npos);
  const std::vector<float> fitting(6);
  EXPECT_NE(
      error_of([&] { multiclass_nms(boxes, fitting, 2, {kNaN, 0.5F, 1, 1}, scratch); }).find("NaN"),
      std::string::npos);
}

}  // namespace
}  // namespace instseg
