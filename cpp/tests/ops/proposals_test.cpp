#include "ops/proposals.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

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
constexpr std::array<float, 3> kRatios{0.5F, 1.0F, 2.0F};

// One level with memory of its own.
struct Level {
  std::vector<float> scores, deltas;
  int height, width;
  float stride;
  std::vector<Box> cells;

  [[nodiscard]] ProposalLevel view() const {
    return {scores, deltas, height, width, stride, cells};
  }
};

Level make_level(int height, int width, float stride, std::vector<float> sizes) {
  Level level{{}, {}, height, width, stride, cell_anchors(sizes, kRatios)};
  const std::size_t count = static_cast<std::size_t>(height * width) * level.cells.size();
  level.scores.resize(count);
  level.deltas.resize(count * 4);
  return level;
}

Proposals run(const std::vector<Level>& levels, float height, float width, const ProposalSpec& spec,
              int threads = 1) {
  std::vector<ProposalLevel> views;
  for (const Level& level : levels) {
    views.push_back(level.view());
  }
  ThreadPool pool(threads);
  ProposalScratch scratch;
  Proposals first, second;
  generate_proposals(views, height, width, spec, pool, scratch, first);
  generate_proposals(views, height, width, spec, pool, scratch, second);
  EXPECT_EQ(first.boxes, second.boxes) << "scratch reuse";
  EXPECT_EQ(first.scores, second.scores);
  return first;
}

struct Scored {
  double score;
  std::array<double, 4> box;
};

double overlap(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double width = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  const double height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  const double inside = std::max(width, 0.0) * std::max(height, 0.0);
  const auto area = [](const auto& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
  return inside / (area(a) + area(b) - inside);
}

// Everything in double precision, one anchor at a time, by the description in the header.
std::vector<Scored> plain_level(const Level& level, double height, double width,
                                const ProposalSpec& spec) {
  const std::vector<Box> anchors =
      generate_anchors(level.cells, level.stride, level.height, level.width);
  const int per_cell = static_cast<int>(level.cells.size()), cells = level.height * level.width;
  const auto score = [&](int i) {
    return level.scores[static_cast<std::size_t>(i % per_cell * cells + i / per_cell)];
  };
  std::vector<int> order(anchors.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int i) { return std::isnan(score(i)); });
  std::ranges::stable_sort(order, [&](int a, int b) { return score(a) > score(b); });
  if (spec.pre_nms_top_k > 0 && order.size() > static_cast<std::size_t>(spec.pre_nms_top_k)) {
    order.resize(static_cast<std::size_t>(spec.pre_nms_top_k));
  }
  std::vector<Scored> kept;
  for (const int i : order) {
    const Box& anchor = anchors[static_cast<std::size_t>(i)];
    const auto delta = [&](int k) {
      return double{
          level.deltas[static_cast<std::size_t>((i % per_cell * 4 + k) * cells + i / per_cell)]};
    };
    const double w = double{anchor.x2} - double{anchor.x1};
    const double h = double{anchor.y2} - double{anchor.y1};
    const double x = double{anchor.x1} + w / 2 + delta(0) * w;
    const double y = double{anchor.y1} + h / 2 + delta(1) * h;
    const double new_w = w * std::exp(std::min(delta(2), std::log(62.5)));
    const double new_h = h * std::exp(std::min(delta(3), std::log(62.5)));
    const std::array<double, 4> box{
        std::clamp(x - new_w / 2, 0.0, width), std::clamp(y - new_h / 2, 0.0, height),
        std::clamp(x + new_w / 2, 0.0, width), std::clamp(y + new_h / 2, 0.0, height)};
    const double smallest = std::max(1.0, double{spec.min_size});
    if (!(box[2] - box[0] >= smallest && box[3] - box[1] >= smallest)) {
      continue;
    }
    const bool keep = std::ranges::all_of(kept, [&](const Scored& other) {
      return overlap(box, other.box) <= double{spec.iou_threshold};
    });
    if (keep) {
      kept.push_back({double{score(i)}, box});
    }
  }
  if (spec.post_nms_top_k > 0 && kept.size() > static_cast<std::size_t>(spec.post_nms_top_k)) {
    kept.resize(static_cast<std::size_t>(spec.post_nms_top_k));
  }
  return kept;
}

std::vector<Scored> plain(const std::vector<Level>& levels, double height, double width,
                          const ProposalSpec& spec) {
  std::vector<Scored> all;
  for (const Level& level : levels) {
    const std::vector<Scored> found = plain_level(level, height, width, spec);
    all.insert(all.end(), found.begin(), found.end());
  }
  if (spec.post_nms_top_k > 0 && all.size() > static_cast<std::size_t>(spec.post_nms_top_k)) {
    std::ranges::stable_sort(all,
                             [](const Scored& a, const Scored& b) { return a.score > b.score; });
    all.resize(static_cast<std::size_t>(spec.post_nms_top_k));
  }
  return all;
}

void expect_same(const Proposals& found, const std::vector<Scored>& expected) {
  ASSERT_EQ(found.boxes.size(), expected.size());
  ASSERT_EQ(found.scores.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(double{found.scores[i]}, expected[i].score) << i;
    EXPECT_NEAR(double{found.boxes[i].x1}, expected[i].box[0], 1e-3) << i;
    EXPECT_NEAR(double{found.boxes[i].y1}, expected[i].box[1], 1e-3) << i;
    EXPECT_NEAR(double{found.boxes[i].x2}, expected[i].box[2], 1e-3) << i;
    EXPECT_NEAR(double{found.boxes[i].y2}, expected[i].box[3], 1e-3) << i;
  }
}

TEST(Anchors, AreCentredOnCellCorners) {
  const std::vector<float> sizes{32.0F, 64.0F}, ratios{1.0F, 4.0F};
  const std::vector<Box> cells = cell_anchors(sizes, ratios);
  EXPECT_EQ(cells,
            (std::vector<Box>{
                {-16, -16, 16, 16}, {-8, -32, 8, 32}, {-32, -32, 32, 32}, {-16, -64, 16, 64}}));
  const std::vector<Box> anchors = generate_anchors(cells, 8.0F, 2, 3);
  ASSERT_EQ(anchors.size(), 24U);
  EXPECT_EQ(anchors[0], cells[0]);
  EXPECT_EQ(anchors[4 * 4 + 1], (Box{0, -24, 16, 40}));  // row 1, column 1
}

// Recorded from paddle.vision.ops.generate_proposals and paddle.topk (3.3.1) on these inputs.
TEST(Proposals, AgreeWithRecordedPaddle) {
  std::vector<Level> levels{make_level(4, 5, 16, {32}), make_level(2, 3, 32, {64})};
  levels[0].scores = recorded_values(60);
  levels[0].deltas = recorded_values(240, 400, 0.8F);
  levels[1].scores = recorded_values(18, 300);
  levels[1].deltas = recorded_values(72, 700, 0.8F);
  const Proposals found = run(levels, 60, 75, {20, 8, 0.5F, 0.0F});
  const std::vector<Box> boxes{{25.3187218F, 8.13180542F, 44.4469872F, 26.2848434F},
                               {0, 0, 75, 60},
                               {28.5028706F, 0, 39.4741135F, 12.0207319F},
                               {1.95747757F, 0.162621975F, 30.826107F, 13.8610249F},
                               {5.98624325F, 0, 22.5441818F, 4.44756413F},
                               {0, 0, 36.0207787F, 43.6767197F},
                               {30.8598213F, 14.57934F, 57.0252876F, 26.9950695F},
                               {0, 6.84550476F, 38.2428055F, 60}};
  const std::vector<float> scores{0.992071331F, 0.986124873F, 0.926660061F, 0.877106071F,
                                  0.811694741F, 0.805748284F, 0.754212081F, 0.746283472F};
  ASSERT_EQ(found.scores, scores);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    EXPECT_NEAR(found.boxes[i].x1, boxes[i].x1, 2e-5F) << i;
    EXPECT_NEAR(found.boxes[i].y1, boxes[i].y1, 2e-5F) << i;
    EXPECT_NEAR(found.boxes[i].x2, boxes[i].x2, 2e-5F) << i;
    EXPECT_NEAR(found.boxes[i].y2, boxes[i].y2, 2e-5F) << i;
  }
}

TEST(Proposals, AgreeWithThePlainVersion) {
  std::mt19937 random(1);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int round = 0; round < 60; ++round) {
    std::vector<Level> levels;
    const int count = pick(1, 4);
    for (int i = 0; i < count; ++i) {
      const auto stride = static_cast<float>(4 << i);
      levels.push_back(make_level(pick(0, 12), pick(1, 12), stride, {stride * 4, stride * 6}));
      const int anchors = static_cast<int>(levels.back().scores.size());
      levels.back().deltas = random_values(random, anchors * 4, round % 2 == 0 ? 0.2F : 2.0F);
      for (float& score : levels.back().scores) {
        // Whole numbers tie; some are no numbers.
        score = pick(0, 30) == 0 ? kNaN : static_cast<float>(pick(-40, 40));
      }
    }
    const auto height = static_cast<float>(pick(5, 90)), width = static_cast<float>(pick(5, 90));
    const ProposalSpec spec{pick(-1, 200), pick(-1, 80), static_cast<float>(pick(1, 9)) / 10.0F,
                            static_cast<float>(pick(0, 4))};
    SCOPED_TRACE(round);
    expect_same(run(levels, height, width, spec, 1 + round % 3),
                plain(levels, height, width, spec));
  }
}

TEST(Proposals, SmallBoxesAreLeftOut) {
  Level level = make_level(1, 1, 16, {});
  level.cells = {{0, 0, 0.99F, 10}, {0, 0, 1, 10}, {20, 0, 30, 2}, {40, 0, 45, 5}};
  level.scores = {4, 3, 2, 1};
  level.deltas.assign(16, 0.0F);
  EXPECT_EQ(run({level}, 100, 100, {}).boxes.size(), 3U);
  EXPECT_EQ(run({level}, 100, 100, {.min_size = 5}).boxes, (std::vector<Box>{{40, 0, 45, 5}}));
  EXPECT_TRUE(run({level}, 0.5F, 100, {}).boxes.empty());
}

TEST(Proposals, NumbersThatAreNone) {
  Level level = make_level(1, 4, 16, {});
  level.cells = {{0, 0, 10, 10}};
  level.scores = {kNaN, -kInfinity, kInfinity, 1};
  level.deltas.assign(16, 0.0F);
  level.deltas[3] = kNaN;  // dx of the last one
  EXPECT_EQ(run({level}, 99, 99, {}).boxes, (std::vector<Box>{{32, 0, 42, 10}}));
  level.deltas[2] = kInfinity;
  level.deltas[3] = 1e30F;
  EXPECT_TRUE(run({level}, 99, 99, {}).boxes.empty());
}

TEST(Proposals, NothingToDo) {
  EXPECT_TRUE(run({}, 10, 10, {}).boxes.empty());
  EXPECT_TRUE(run({make_level(0, 7, 4, {8}), make_level(3, 0, 8, {8})}, 10, 10, {}).boxes.empty());
}

TEST(Proposals, CheckTheirArguments) {
  const Level good = make_level(2, 3, 4, {8});
  const auto call = [&](auto change, float height = 10, ProposalSpec spec = {}) {
    Level level = good;
    change(level);
    return error_of([&] {
      ThreadPool pool(1);
      ProposalScratch scratch;
      Proposals out;
      const ProposalLevel view = level.view();
      generate_proposals({&view, 1}, height, 10, spec, pool, scratch, out);
    });
  };
  EXPECT_EQ(call([](Level&) {}), "no error");
  EXPECT_TRUE(has(call([](Level& l) { l.scores.pop_back(); }), "17 scores and 72 deltas"));
  EXPECT_TRUE(has(call([](Level& l) { l.deltas.pop_back(); }), "expected 18 and 72"));
  EXPECT_TRUE(has(call([](Level& l) { l.height = -2; }), "3 x -2"));
  EXPECT_TRUE(has(call([](Level& l) { l.height = l.width = 1 << 30; }), "at most"));
  EXPECT_TRUE(has(call([](Level& l) { l.stride = 0; }), "stride"));
  EXPECT_TRUE(has(call([](Level&) {}, 0), "10.000000 x 0.000000"));
  EXPECT_TRUE(has(call([](Level&) {}, kNaN), "positive size"));
  EXPECT_TRUE(has(call([](Level&) {}, 10, {.iou_threshold = kNaN}), "NaN"));
  EXPECT_TRUE(has(error_of([] { make_level(1, 1, 4, {-3}); }), "positive"));
}

}  // namespace
}  // namespace instseg
