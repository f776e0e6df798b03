#include "cuda/detections_testing.hpp"
#include "maths/half.hpp"
#include "ops/plane_testing.hpp"
#include "ops/proposals.hpp"
#include "ops/roi_align.hpp"

namespace instseg::testing_cuda {
namespace {

using testing_planes::random_values;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CudaRegions : public CudaOps {};

std::vector<float> to_values(const std::vector<Box>& boxes) {
  std::vector<float> values;
  for (const Box& box : boxes) {
    values.insert(values.end(), {box.x1, box.y1, box.x2, box.y2});
  }
  return values;
}

struct LevelData {
  int height, width;
  float stride;
  std::vector<Box> anchors;
  std::vector<float> scores, deltas;
};

// Two images.
std::vector<LevelData> random_levels(int levels, int height, int width, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> step(0, 50);
  std::vector<LevelData> result;
  for (int i = 0; i < levels; ++i) {
    LevelData level;
    level.height = std::max(1, height >> i);
    level.width = std::max(1, width >> i);
    level.stride = 4.0F * static_cast<float>(1 << i);
    const std::vector<float> sizes{8.0F * level.stride};
    const std::vector<float> ratios{0.5F, 1.0F, 2.0F};
    level.anchors = cell_anchors(sizes, ratios);
    const int anchors = level.height * level.width * static_cast<int>(level.anchors.size());
    for (int n = 0; n < 2 * anchors; ++n) {
      level.scores.push_back(static_cast<float>(step(random)) / 50.0F);  // many are equal
    }
    level.scores[0] = kNaN;
    level.scores.back() = -kInfinity;
    level.deltas = random_values(random, 2 * anchors * 4, 0.5F);
    level.deltas[1] = kNaN;
    level.deltas[2] = 1000.0F;
    result.push_back(level);
  }
  return result;
}

void expect_proposals(const instseg_cuda_ops& ops, const std::vector<LevelData>& levels,
                      const ProposalSpec& spec, int capacity) {
  Machine machine(ops);
  std::vector<instseg_cuda_proposal_level> placed;
  for (const LevelData& level : levels) {
    placed.push_back({machine.upload(level.scores), machine.upload(level.deltas),
                      machine.upload(to_values(level.anchors)),
                      static_cast<int>(level.anchors.size()), level.height, level.width,
                      level.stride});
  }
  const std::vector<float> resized{90.0F, 130.0F, 70.0F, 50.0F};
  const instseg_cuda_proposals op{placed.data(),
                                  static_cast<int>(placed.size()),
                                  2,
                                  resized.data(),
                                  spec.pre_nms_top_k,
                                  spec.post_nms_top_k,
                                  spec.iou_threshold,
                                  spec.min_size,
                                  capacity,
                                  machine.blank<std::int32_t>(2),
                                  machine.blank<float>(2 * capacity * 4),
                                  machine.blank<float>(2 * capacity)};
  machine.run(ops.proposals, op);
  const auto counts = machine.download(op.counts, 2);
  const auto boxes = machine.download(op.boxes, 2 * capacity * 4);
  const auto scores = machine.download(op.scores, 2 * capacity);
  ThreadPool pool(1);
  ProposalScratch scratch;
  for (std::size_t image = 0; image < 2; ++image) {
    std::vector<std::vector<float>> kept;  // the spans' memory
    std::vector<ProposalLevel> cpu;
    for (const LevelData& level : levels) {
      const std::size_t anchors = level.scores.size() / 2;
      kept.push_back(slice(level.scores, image * anchors, anchors));
      kept.push_back(slice(level.deltas, image * anchors * 4, anchors * 4));
    }
    for (std::size_t i = 0; i < levels.size(); ++i) {
      cpu.push_back({kept[2 * i], kept[2 * i + 1], levels[i].height, levels[i].width,
                     levels[i].stride, levels[i].anchors});
    }
    Proposals expected;
    generate_proposals(cpu, resized[2 * image], resized[2 * image + 1], spec, pool, scratch,
                       expected);
    ASSERT_EQ(counts[image], static_cast<int>(expected.boxes.size())) << "image " << image;
    for (std::size_t i = 0; i < expected.boxes.size(); ++i) {
      const std::size_t at = image * static_cast<std::size_t>(capacity) + i;
      EXPECT_EQ(scores[at], expected.scores[i]) << image << ", " << i;
      EXPECT_TRUE(close(box_at(boxes, at), expected.boxes[i])) << image << ", " << i;
    }
  }
}

TEST_F(CudaRegions, ProposalsEqualTheCpu) {
  expect_proposals(ops(), random_levels(5, 20, 30, 1), {100, 50, 0.7F, 0.0F}, 50);
  expect_proposals(ops(), random_levels(3, 20, 30, 2), {200, 1000, 0.5F, 12.0F}, 1000);
  expect_proposals(ops(), random_levels(1, 30, 30, 3), {-1, 40, 0.7F, 0.0F}, 64);
  expect_proposals(ops(), random_levels(2, 10, 9, 4), {0, 0, 0.9F, 3.0F}, 600);
  expect_proposals(ops(), random_levels(1, 1, 1, 5), {10, 5, 0.7F, 500.0F}, 5);
  expect_proposals(ops(), random_levels(2, 60, 60, 6), {9000, 2000, 0.7F, 0.0F}, 2000);
}

struct RoiCase {
  int levels, channels, side, ratio;
  bool aligned;
};

// Boxes of all sizes, some odd.
std::vector<float> random_rois(std::mt19937& random, int count) {
  std::uniform_real_distribution<float> place(-30.0F, 330.0F);
  std::exponential_distribution<float> size(0.02F);
  std::vector<float> rois{10,   10,  10,      50,   30,   40,   20,    60,        kNaN,
                          0,    20,  20,      0,    0,    1e9F, 10,    0,         0,
                          9,    300, -500.0F, -500, -400, -400, -9000, -9000,     9000,
                          9000, 5,   5,       5.5F, 5.5F, 0,    0,     kInfinity, 3};
  while (rois.size() < static_cast<std::size_t>(count) * 4) {
    const float x = place(random);
    const float y = place(random);
    rois.insert(rois.end(), {x, y, x + size(random), y + size(random)});
  }
  return rois;
}

void expect_roi_align(const instseg_cuda_ops& ops, const RoiCase& c, unsigned seed) {
  constexpr int kRois = 40;
  Machine machine(ops);
  std::mt19937 random(seed);
  std::vector<std::vector<float>> features;
  std::vector<instseg_cuda_feature_level> placed;
  for (int i = 0; i < c.levels; ++i) {
    const int height = std::max(1, 70 >> i);
    const int width = std::max(1, 90 >> i);
    features.push_back(random_values(random, 2 * c.channels * height * width, 1.0F));
    placed.push_back(
        {machine.upload(features.back()), height, width, 4.0F * static_cast<float>(1 << i)});
  }
  const std::vector<float> rois = random_rois(random, 2 * kRois);
  const std::vector<std::int32_t> counts{kRois, kRois - 7};
  const int values = c.channels * c.side * c.side;
  const RoiAlignSpec spec{c.channels, c.side, c.ratio, c.aligned, 2, 4, 56.0F};
  float* const out = machine.blank<float>(2 * kRois * values);
  instseg_cuda_roi_align op{placed.data(),
                            c.levels,
                            2,
                            c.channels,
                            c.side,
                            c.ratio,
                            c.aligned ? 1 : 0,
                            spec.first_level,
                            spec.canonical_level,
                            spec.canonical_size,
                            machine.upload(rois),
                            machine.upload(counts),
                            kRois,
                            INSTSEG_FLOAT32,
                            out};
  machine.run(ops.roi_align, op);
  const std::vector<float> found = machine.download(out, 2 * kRois * values);
  ThreadPool pool(1);
  RoiAlignScratch scratch;
  for (std::size_t image = 0; image < 2; ++image) {
    std::vector<std::vector<float>> kept;
    std::vector<FeatureLevel> levels;
    for (std::size_t i = 0; i < features.size(); ++i) {
      const std::size_t size = features[i].size() / 2;
      kept.push_back(slice(features[i], image * size, size));
    }
    for (std::size_t i = 0; i < features.size(); ++i) {
      levels.push_back({kept[i], placed[i].height, placed[i].width, placed[i].stride});
    }
    std::vector<Box> boxes;
    for (std::size_t i = 0; i < static_cast<std::size_t>(counts[image]); ++i) {
      boxes.push_back(box_at(rois, image * kRois + i));
    }
    std::vector<float> expected(boxes.size() * static_cast<std::size_t>(values));
    roi_align(levels, boxes, spec, pool, scratch, expected);
    expected.resize(static_cast<std::size_t>(kRois * values));  // zeros where there is no RoI
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const float value = found[image * expected.size() + i];
      ASSERT_TRUE(close(value, expected[i]))
          << image << ", RoI " << i / static_cast<std::size_t>(values) << ": " << value << ", CPU "
          << expected[i];
    }
  }
  std::uint16_t* const halves = machine.blank<std::uint16_t>(2 * kRois * values);
  op.out = halves;
  op.out_type = INSTSEG_FLOAT16;
  machine.run(ops.roi_align, op);
  const std::vector<std::uint16_t> rounded = machine.download(halves, 2 * kRois * values);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(rounded[i], to_half(found[i]).bits) << i;
  }
}

TEST_F(CudaRegions, RoiAlignEqualsTheCpu) {
  expect_roi_align(ops(), {4, 3, 7, 0, false}, 1);
  expect_roi_align(ops(), {4, 2, 14, 0, true}, 2);
  expect_roi_align(ops(), {1, 5, 7, 2, false}, 3);
  expect_roi_align(ops(), {2, 1, 1, 3, true}, 4);
  expect_roi_align(ops(), {8, 1, 64, 0, false}, 5);
}

TEST_F(CudaRegions, RefusesWhatIsWrong) {
  Machine machine(ops());
  instseg_cuda_roi_align op{};
  const instseg_cuda_feature_level level{nullptr, 4, 4, 0.0F};
  op.levels = &level;
  op.level_count = 1;
  op.channels = 1;
  op.output_size = 65;
  EXPECT_NE(machine.error_of(ops().roi_align, op).find("65 bins"), std::string::npos);
  op.output_size = 7;
  EXPECT_NE(machine.error_of(ops().roi_align, op).find("stride"), std::string::npos);
  instseg_cuda_proposals proposals{};
  EXPECT_NE(machine.error_of(ops().proposals, proposals).find("0 levels"), std::string::npos);
}

}  // namespace
}  // namespace instseg::testing_cuda
