#include "ops/matrix_nms.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "ops/mask_testing.hpp"

namespace instseg {
namespace {

using testing_masks::error_of;
using testing_masks::has;
using Kernel = MatrixNmsSpec::Kernel;
using Pixels = std::vector<bool>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Input {
  std::vector<Pixels> masks;  // of one size
  std::vector<int> entries;   // the mask of each entry
  std::vector<int> class_ids;
  std::vector<float> scores;

  [[nodiscard]] int area(std::size_t entry) const {
    const Pixels& mask = masks[static_cast<std::size_t>(entries[entry])];
    return static_cast<int>(std::count(mask.begin(), mask.end(), true));
  }
};

std::vector<RankedMask> run(const Input& input, const MatrixNmsSpec& spec, int threads = 1) {
  const std::size_t pixels = input.masks.empty() ? 0 : input.masks[0].size();
  const std::size_t words = (pixels + 63) / 64;
  std::vector<std::uint64_t> bits(words * input.masks.size());
  for (std::size_t mask = 0; mask < input.masks.size(); ++mask) {
    for (std::size_t i = 0; i < pixels; ++i) {
      bits[mask * words + i / 64] |= std::uint64_t{input.masks[mask][i]} << (i % 64);
    }
  }
  std::vector<int> areas;
  for (std::size_t i = 0; i < input.entries.size(); ++i) {
    areas.push_back(input.area(i));
  }
  ThreadPool pool(threads);
  MatrixNmsScratch scratch;
  const auto call = [&] {
    return matrix_nms({bits, words}, input.entries, areas, input.class_ids, input.scores, spec,
                      pool, scratch);
  };
  const std::vector<RankedMask> first = call();
  EXPECT_EQ(call(), first) << "scratch reuse";
  return first;
}

Input rectangles() {
  Input input;
  const std::vector<std::array<int, 4>> boxes{{0, 0, 5, 4}, {1, 0, 6, 4}, {0, 1, 5, 5},
                                              {4, 2, 8, 6}, {1, 1, 6, 4}, {4, 3, 8, 6}};
  for (const auto& [x1, y1, x2, y2] : boxes) {
    Pixels mask(6 * 8);
    for (int y = y1; y < y2; ++y) {
      for (int x = x1; x < x2; ++x) {
        mask[static_cast<std::size_t>(y * 8 + x)] = true;
      }
    }
    input.masks.push_back(mask);
  }
  input.entries = {0, 1, 2, 3, 4, 5};
  input.class_ids = {0, 0, 0, 1, 0, 1};
  input.scores = {0.9F, 0.8F, 0.7F, 0.85F, 0.6F, 0.5F};
  return input;
}

// Recorded from the reference's mask matrix NMS with paddle 3.3.1 (without its made-up last entry).
TEST(MatrixNms, AgreesWithTheRecordedReference) {
  const std::vector<int> order{0, 3, 4, 2, 1, 5};
  const std::vector<float> gaussian{0.899999976F, 0.850000024F, 0.348105758F,
                                    0.340726554F, 0.328889817F, 0.162326232F};
  const std::vector<float> linear{0.899999976F, 0.850000024F, 0.286956549F,
                                  0.279999971F, 0.266666651F, 0.125F};
  for (const Kernel kernel : {Kernel::gaussian, Kernel::linear}) {
    const std::vector<RankedMask> found = run(rectangles(), {.kernel = kernel});
    ASSERT_EQ(found.size(), order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      EXPECT_EQ(found[i].mask, order[i]);
      EXPECT_NEAR(found[i].score, kernel == Kernel::gaussian ? gaussian[i] : linear[i], 1e-6F);
    }
  }
}

// Pair by pair, pixel by pixel, in double precision.
std::vector<RankedMask> plain(const Input& input, const MatrixNmsSpec& spec) {
  std::vector<std::size_t> order(input.entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::erase_if(order, [&](std::size_t i) { return std::isnan(input.scores[i]); });
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return input.scores[a] > input.scores[b]; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(spec.pre_top_k)));
  const auto iou = [&](std::size_t a, std::size_t b) {
    if (input.class_ids[a] != input.class_ids[b]) {
      return 0.0;
    }
    const Pixels& p = input.masks[static_cast<std::size_t>(input.entries[a])];
    const Pixels& q = input.masks[static_cast<std::size_t>(input.entries[b])];
    int both = 0, either = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      both += p[i] && q[i] ? 1 : 0;
      either += p[i] || q[i] ? 1 : 0;
    }
    return static_cast<double>(both) / either;
  };
  const auto most = [&](std::size_t i) {
    double largest = 0;
    for (std::size_t k = 0; k < i; ++k) {
      largest = std::max(largest, iou(order[k], order[i]));
    }
    return largest;
  };
  const double sigma = double{spec.sigma};
  std::vector<RankedMask> result;
  for (std::size_t j = 0; j < order.size(); ++j) {
    double factor = 1;
    for (std::size_t i = 0; i < j; ++i) {
      const double o = iou(order[i], order[j]), c = most(i);
      if (spec.kernel == Kernel::gaussian) {
        factor = std::min(factor, std::exp(sigma * (c * c - o * o)));
      } else if (c < 1) {
        factor = std::min(factor, (1 - o) / (1 - c));
      }
    }
    const auto score = static_cast<float>(double{input.scores[order[j]]} * factor);
    if (score >= spec.update_threshold) {
      result.push_back({static_cast<int>(order[j]), score});
    }
  }
  std::ranges::stable_sort(result, [](const auto& a, const auto& b) { return a.score > b.score; });
  if (spec.post_top_k >= 0 && result.size() > static_cast<std::size_t>(spec.post_top_k)) {
    result.resize(static_cast<std::size_t>(spec.post_top_k));
  }
  return result;
}

TEST(MatrixNms, AgreesWithThePlainVersion) {
  std::mt19937 random(5);
  for (int round = 0; round < 80; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const int height = pick(1, 20), width = pick(1, 30), count = pick(0, 60);
    Input input;
    for (int i = 0; i < count; ++i) {
      Pixels mask(static_cast<std::size_t>(height * width));
      const int x1 = pick(0, width - 1), y1 = pick(0, height - 1);
      const int x2 = pick(x1 + 1, width), y2 = pick(y1 + 1, height);
      for (int y = y1; y < y2; ++y) {
        for (int x = x1; x < x2; ++x) {
          mask[static_cast<std::size_t>(y * width + x)] = true;
        }
      }
      input.masks.push_back(mask);
      input.entries.push_back(pick(0, i));
      input.class_ids.push_back(pick(0, 2));
      // Different scores, so that rounding cannot change their order; some are no numbers.
      input.scores.push_back(pick(0, 20) == 0 ? kNaN : static_cast<float>(i * 37 % 101 + 20) / 121);
    }
    MatrixNmsSpec spec{pick(0, 70), pick(-1, 50), 0.05F,
                       round % 2 == 0 ? Kernel::gaussian : Kernel::linear,
                       static_cast<float>(pick(1, 4))};
    const std::vector<RankedMask> found = run(input, spec, 1 + round % 3);
    std::vector<RankedMask> expected = plain(input, spec);
    ASSERT_EQ(found.size(), expected.size()) << round;
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i].score, expected[i].score, 1e-5F) << round;
    }
    // Lowered scores may tie but for rounding: the same entries, wherever nothing was cut.
    if (spec.post_top_k < 0) {
      const auto by_mask = [](const RankedMask& a, const RankedMask& b) { return a.mask < b.mask; };
      std::vector<RankedMask> sorted = found;
      std::ranges::sort(sorted, by_mask);
      std::ranges::sort(expected, by_mask);
      for (std::size_t i = 0; i < sorted.size(); ++i) {
        ASSERT_EQ(sorted[i].mask, expected[i].mask) << round;
      }
    }
  }
}

TEST(MatrixNms, OrderOfTheInputsDoesNotMatter) {
  const Input input = rectangles();
  const std::vector<RankedMask> expected = run(input, {});
  std::mt19937 random(6);
  std::vector<std::size_t> order(6);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (int round = 0; round < 10; ++round) {
    std::ranges::shuffle(order, random);
    Input shuffled;
    shuffled.masks = input.masks;
    for (const std::size_t i : order) {
      shuffled.entries.push_back(input.entries[i]);
      shuffled.class_ids.push_back(input.class_ids[i]);
      shuffled.scores.push_back(input.scores[i]);
    }
    std::vector<RankedMask> found = run(shuffled, {});
    for (RankedMask& mask : found) {
      mask.mask = static_cast<int>(order[static_cast<std::size_t>(mask.mask)]);
    }
    EXPECT_EQ(found, expected);
  }
}

TEST(MatrixNms, EqualMasks) {
  Input input = rectangles();
  input.entries = {2, 2, 2};
  input.class_ids = {4, 4, 5};
  input.scores = {0.5F, 0.5F, 0.5F};
  // The first of equal scores stays as it is; the second is lowered by exp(-2), or to nothing.
  const std::vector<RankedMask> gaussian = run(input, {});
  ASSERT_EQ(gaussian.size(), 3U);
  EXPECT_EQ(gaussian[0], (RankedMask{0, 0.5F}));
  EXPECT_EQ(gaussian[1], (RankedMask{2, 0.5F}));
  EXPECT_EQ(gaussian[2].mask, 1);
  EXPECT_NEAR(gaussian[2].score, 0.5F * std::exp(-2.0F), 1e-6F);
  input.class_ids = {4, 4, 4};
  EXPECT_EQ(run(input, {.kernel = Kernel::linear}), (std::vector<RankedMask>{{0, 0.5F}}));
}

TEST(MatrixNms, NothingToDo) {
  EXPECT_TRUE(run({}, {}).empty());
  EXPECT_TRUE(run(rectangles(), {.pre_top_k = 0}).empty());
  EXPECT_TRUE(run(rectangles(), {.post_top_k = 0}).empty());
  EXPECT_TRUE(run(rectangles(), {.update_threshold = 1}).empty());
  EXPECT_EQ(run(rectangles(), {.pre_top_k = 1}), (std::vector<RankedMask>{{0, 0.9F}}));
}

TEST(MatrixNms, ChecksItsArguments) {
  const auto call = [](auto change, MatrixNmsSpec spec = {}) {
    std::vector<std::uint64_t> bits(6);
    std::vector<int> masks{0, 2}, areas{1, 1}, class_ids{0, 0};
    std::vector<float> scores{0.5F, 0.4F};
    change(bits, masks, areas, scores);
    ThreadPool pool(1);
    MatrixNmsScratch scratch;
    return error_of(
        [&] { matrix_nms({bits, 2}, masks, areas, class_ids, scores, spec, pool, scratch); });
  };
  const auto none = [](auto&, auto&, auto&, auto&) {};
  EXPECT_EQ(call(none), "no error");
  EXPECT_TRUE(has(call([](auto& b, auto&, auto&, auto&) { b.pop_back(); }), "5 words"));
  EXPECT_TRUE(has(call([](auto&, auto& m, auto&, auto&) { m[1] = 3; }), "a mask below 3"));
  EXPECT_TRUE(has(call([](auto&, auto& m, auto&, auto&) { m[1] = -1; }), "entry 1 has mask -1"));
  EXPECT_TRUE(has(call([](auto&, auto&, auto& a, auto&) { a[0] = 0; }), "with area 0"));
  EXPECT_TRUE(has(call([](auto&, auto&, auto&, auto& s) { s.pop_back(); }), "1 scores"));
  EXPECT_TRUE(has(call(none, {.pre_top_k = -1}), "pre_top_k"));
  EXPECT_TRUE(has(call(none, {.pre_top_k = 1 << 20}), "expected 0 to 8192"));
  EXPECT_TRUE(has(call(none, {.sigma = kNaN}), "NaN"));
}

}  // namespace
}  // namespace instseg
