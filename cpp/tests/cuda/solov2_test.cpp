#include "cuda/detections_testing.hpp"
#include "cuda/masks_testing.hpp"
#include "ops/matrix_nms.hpp"
#include "ops/plane_testing.hpp"
#include "ops/solov2_decode.hpp"

namespace instseg::testing_cuda {
namespace {

using testing_planes::random_values;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class CudaSolov2 : public CudaOps {};

instseg_cuda_matrix_nms_spec to_spec(const MatrixNmsSpec& spec) {
  return {spec.pre_top_k, spec.post_top_k, spec.update_threshold,
          spec.kernel == MatrixNmsSpec::Kernel::linear ? 1 : 0, spec.sigma};
}

struct MaskSet {
  std::vector<std::uint64_t> bits;
  std::vector<int> masks, areas, class_ids;
  std::vector<float> scores;
};

// Runs of set bits, so that masks overlap; entries share some, scores are often equal.
MaskSet random_masks(int count, int words, int classes, unsigned seed) {
  std::mt19937 random(seed);
  const auto pick = [&](int end) { return std::uniform_int_distribution<int>(0, end - 1)(random); };
  MaskSet set;
  std::vector<int> areas;
  for (int i = 0; i < count; ++i) {
    const int begin = pick(words * 64);
    const int end = std::min(words * 64, begin + 1 + pick(words * 32));
    std::vector<std::uint64_t> mask(static_cast<std::size_t>(words));
    for (int bit = begin; bit < end; ++bit) {
      mask[static_cast<std::size_t>(bit / 64)] |= std::uint64_t{1} << (bit % 64);
    }
    areas.push_back(end - begin);
    set.bits.insert(set.bits.end(), mask.begin(), mask.end());
  }
  for (int i = 0; i < count + count / 3; ++i) {
    const int mask = i % count;
    set.masks.push_back(mask);
    set.areas.push_back(areas[static_cast<std::size_t>(mask)]);
    set.class_ids.push_back(pick(classes));
    set.scores.push_back(pick(30) == 0 ? kNaN : static_cast<float>(pick(40)) / 40.0F);
  }
  return set;
}

void expect_matrix_nms(const instseg_cuda_ops& ops, const MaskSet& set, int words,
                       const MatrixNmsSpec& spec) {
  Machine machine(ops);
  const auto entries = static_cast<int>(set.scores.size());
  const int most = std::max(entries, 1);
  const instseg_cuda_matrix_nms op{machine.upload(set.bits),
                                   words,
                                   machine.upload(set.masks),
                                   machine.upload(set.areas),
                                   machine.upload(set.class_ids),
                                   machine.upload(set.scores),
                                   machine.upload(std::vector<std::int32_t>{entries}),
                                   entries,
                                   to_spec(spec),
                                   most,
                                   machine.blank<std::int32_t>(1),
                                   machine.blank<std::int32_t>(most),
                                   machine.blank<float>(most)};
  machine.run(ops.matrix_nms, op);
  ThreadPool pool(1);
  MatrixNmsScratch scratch;
  const std::vector<RankedMask> expected =
      matrix_nms({set.bits, static_cast<std::size_t>(words)}, set.masks, set.areas, set.class_ids,
                 set.scores, spec, pool, scratch);
  const int count = machine.download(op.out_count, 1)[0];
  ASSERT_EQ(count, static_cast<int>(expected.size()));
  const auto found = machine.download(op.out_entries, count);
  const auto scores = machine.download(op.out_scores, count);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(found[i], expected[i].mask) << i;
    EXPECT_TRUE(close(scores[i], expected[i].score)) << i;
  }
}

TEST_F(CudaSolov2, MatrixNmsEqualsTheCpu) {
  using Kernel = MatrixNmsSpec::Kernel;
  expect_matrix_nms(ops(), random_masks(60, 9, 3, 1), 9, {500, 100, 0.05F, Kernel::gaussian, 2.0F});
  expect_matrix_nms(ops(), random_masks(60, 9, 3, 2), 9, {40, 10, 0.01F, Kernel::linear, 2.0F});
  expect_matrix_nms(ops(), random_masks(100, 130, 2, 3), 130,
                    {100, -1, 0.0F, Kernel::gaussian, 0.5F});
  expect_matrix_nms(ops(), random_masks(5, 1, 1, 4), 1, {0, 10, 0.0F, Kernel::linear, 2.0F});
  expect_matrix_nms(ops(), {}, 4, {500, 100, 0.05F, Kernel::gaussian, 2.0F});
  MaskSet equal = random_masks(1, 2, 1, 5);  // linear: 0 / 0
  for (int i = 0; i < 3; ++i) {
    equal.masks.push_back(0);
    equal.areas.push_back(equal.areas[0]);
    equal.class_ids.push_back(0);
    equal.scores.push_back(0.5F);
  }
  equal.scores[0] = 0.9F;
  expect_matrix_nms(ops(), equal, 2, {500, 100, 0.0F, Kernel::linear, 2.0F});
}

struct SolovCase {
  std::vector<int> grids, minimum_areas;
  Solov2Geometry geometry;
  Solov2Spec spec;
};

void expect_solov2(const instseg_cuda_ops& ops, const SolovCase& c, unsigned seed) {
  Machine machine(ops);
  std::mt19937 random(seed);
  std::vector<std::vector<float>> values;  // scores and kernels, by level
  for (const int grid : c.grids) {
    values.push_back(random_values(random, grid * grid * c.spec.classes, 0.2F));
    values.push_back(random_values(random, grid * grid * c.spec.channels, 0.6F));
  }
  values[0][0] = kNaN;
  std::vector<float> features = random_values(
      random, c.spec.channels * c.geometry.feature_height * c.geometry.feature_width, 0.6F);
  features[7] = kNaN;
  std::vector<Solov2Level> levels;
  std::vector<instseg_cuda_solov2_level> placed;
  for (std::size_t i = 0; i < c.grids.size(); ++i) {
    levels.push_back({values[2 * i], values[2 * i + 1], c.grids[i], c.minimum_areas[i]});
    placed.push_back({machine.upload(values[2 * i]), machine.upload(values[2 * i + 1]), c.grids[i],
                      c.minimum_areas[i]});
  }
  const Solov2Geometry& g = c.geometry;
  constexpr int kCapacity = 60;
  const instseg_cuda_solov2 op{placed.data(),
                               static_cast<int>(placed.size()),
                               c.spec.classes,
                               c.spec.channels,
                               machine.upload(features),
                               g.feature_height,
                               g.feature_width,
                               g.resized_height,
                               g.resized_width,
                               g.image_height,
                               g.image_width,
                               c.spec.score_threshold,
                               c.spec.mask_threshold,
                               c.spec.result_threshold,
                               to_spec(c.spec.nms),
                               make_detections(machine, 1, kCapacity),
                               make_masks(machine, kCapacity, 100000)};
  machine.run(ops.solov2, op);
  const auto found = read_detections(machine, op.out, 1)[0];
  const std::vector<PackedMask> masks = read_masks(machine, op.masks, kCapacity);
  ThreadPool pool(1);
  Solov2Scratch scratch;
  const std::vector<Solov2Instance> expected =
      decode_solov2(levels, features, c.geometry, c.spec, pool, scratch);
  ASSERT_EQ(found.size(), expected.size()) << "seed " << seed;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(found[i].class_id, expected[i].class_id) << i << ", seed " << seed;
    EXPECT_TRUE(close(found[i].score, expected[i].score)) << i << ", seed " << seed;
    EXPECT_TRUE(found[i].image_box == expected[i].box) << i << ", seed " << seed;
    EXPECT_TRUE(same_mask(masks[i], expected[i].mask)) << i << ", seed " << seed;
  }
}

TEST_F(CudaSolov2, DecodeEqualsTheCpu) {
  const MatrixNmsSpec nms{50, 20, 0.05F, MatrixNmsSpec::Kernel::gaussian, 2.0F};
  expect_solov2(ops(), {{7, 4}, {100, 10}, {24, 40, 90, 150, 123, 201}, {5, 16, 0.1F, 0.5F, nms}},
                1);
  expect_solov2(ops(), {{10}, {-3}, {16, 16, 64, 64, 20, 30}, {40, 7, 0.3F, 0.6F, nms, 0.2F}}, 2);
  expect_solov2(ops(), {{3, 2, 1}, {0, 0, 0}, {9, 30, 33, 100, 99, 300}, {3, 4, 0.0F, 0.3F, nms}},
                3);
  expect_solov2(ops(), {{3}, {0}, {8, 8, 32, 32, 32, 32}, {3, 4, 5.0F, 0.5F, nms}}, 4);  // none
}

TEST_F(CudaSolov2, RefusesWhatIsWrong) {
  Machine machine(ops());
  instseg_cuda_matrix_nms op{};
  op.spec.pre_top_k = 8193;
  EXPECT_NE(machine.error_of(ops().matrix_nms, op).find("8193"), std::string::npos);
  op.spec = {100, 10, kNaN, 0, 2.0F};
  EXPECT_NE(machine.error_of(ops().matrix_nms, op).find("NaN"), std::string::npos);
  op.spec.update_threshold = 0.1F;
  op.capacity = 20;
  op.out_capacity = 9;
  EXPECT_NE(machine.error_of(ops().matrix_nms, op).find("at least 10"), std::string::npos);
}

}  // namespace
}  // namespace instseg::testing_cuda
