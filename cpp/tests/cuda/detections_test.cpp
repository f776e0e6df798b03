#include "cuda/detections_testing.hpp"
#include "ops/box_decode.hpp"
#include "ops/nms.hpp"
#include "ops/plane_testing.hpp"
#include "ops/query_decode.hpp"

namespace instseg::testing_cuda {
namespace {

using testing_planes::random_values;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CudaDetections : public CudaOps {};

// Clusters of boxes, some without area, inverted, infinite or with a NaN.
std::vector<float> random_boxes(std::mt19937& random, int count) {
  std::uniform_real_distribution<float> place(0.0F, 200.0F);
  std::uniform_int_distribution<int> kind(0, 40);
  std::vector<float> boxes;
  for (int i = 0; i < count; ++i) {
    const float x = std::floor(place(random) / 40.0F) * 40.0F + place(random) / 20.0F;
    const float y = std::floor(place(random) / 40.0F) * 40.0F + place(random) / 20.0F;
    const int odd = kind(random);
    boxes.insert(boxes.end(), {x, y,
                               odd == 0   ? x
                               : odd == 1 ? x - 5.0F
                                          : x + 35.0F,
                               odd == 2   ? y
                               : odd == 3 ? kNaN
                               : odd == 4 ? kInfinity
                                          : y + 30.0F});
  }
  return boxes;
}

// Many equal, some NaN, infinite or zero of either sign.
std::vector<float> random_scores(std::mt19937& random, int count) {
  std::uniform_int_distribution<int> level(-20, 100);
  std::vector<float> scores;
  for (int i = 0; i < count; ++i) {
    const int value = level(random);
    scores.push_back(value == -20   ? kNaN
                     : value == -19 ? kInfinity
                     : value == -18 ? -0.0F
                                    : static_cast<float>(value) / 100.0F);
  }
  return scores;
}

std::vector<Box> to_boxes(const std::vector<float>& values) {
  std::vector<Box> boxes;
  for (std::size_t i = 0; i < values.size() / 4; ++i) {
    boxes.push_back(box_at(values, i));
  }
  return boxes;
}

struct NmsCase {
  int images, classes, anchors;
  NmsSpec spec;
};

void expect_nms(const instseg_cuda_ops& ops, const NmsCase& c, unsigned seed) {
  Machine machine(ops);
  std::mt19937 random(seed);
  const std::vector<float> boxes = random_boxes(random, c.images * c.anchors);
  const std::vector<float> scores = random_scores(random, c.images * c.classes * c.anchors);
  const int most = c.spec.keep_top_k < 0 ? c.classes * c.anchors : c.spec.keep_top_k;
  const instseg_cuda_multiclass_nms op{
      machine.upload(boxes),
      machine.upload(scores),
      c.images,
      c.classes,
      c.anchors,
      {c.spec.score_threshold, c.spec.iou_threshold, c.spec.nms_top_k, c.spec.keep_top_k},
      make_detections(machine, c.images, most)};
  machine.run(ops.multiclass_nms, op);
  const auto found = read_detections(machine, op.out, c.images);
  NmsScratch scratch;
  for (std::size_t image = 0; image < found.size(); ++image) {
    const auto anchors = static_cast<std::size_t>(c.anchors);
    const std::size_t per_image = anchors * static_cast<std::size_t>(c.classes);
    const std::vector<Box> image_boxes = to_boxes(slice(boxes, image * anchors * 4, anchors * 4));
    const std::vector<Candidate> expected = multiclass_nms(
        image_boxes, slice(scores, image * per_image, per_image), c.classes, c.spec, scratch);
    ASSERT_EQ(found[image].size(), expected.size()) << "image " << image << ", seed " << seed;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found[image][i].class_id, expected[i].class_id) << i << ", seed " << seed;
      EXPECT_EQ(found[image][i].index, expected[i].anchor) << i << ", seed " << seed;
      EXPECT_EQ(found[image][i].score, expected[i].score) << i << ", seed " << seed;
      EXPECT_TRUE(found[image][i].box == image_boxes[static_cast<std::size_t>(expected[i].anchor)]);
    }
  }
}

TEST_F(CudaDetections, MulticlassNmsEqualsTheCpu) {
  expect_nms(ops(), {2, 5, 300, {0.3F, 0.5F, -1, -1}}, 1);
  expect_nms(ops(), {2, 5, 300, {0.1F, 0.6F, 40, 30}}, 2);
  expect_nms(ops(), {1, 3, 5000, {0.0F, 0.5F, 1000, 100}}, 3);
  expect_nms(ops(), {1, 1, 2500, {-1.0F, 0.9F, -1, 2100}}, 4);
  expect_nms(ops(), {1, 2, 64, {0.0F, 0.0F, 1, -1}}, 5);
  expect_nms(ops(), {1, 2, 65, {0.0F, -0.5F, -1, 3}}, 6);
  expect_nms(ops(), {1, 7, 63, {0.99F, 0.5F, -1, 10}}, 7);
  expect_nms(ops(), {1, 2, 30, {2.0F, 0.5F, -1, 10}}, 8);
  expect_nms(ops(), {1, 2, 30, {0.0F, 0.5F, 0, 10}}, 9);
  expect_nms(ops(), {1, 2, 30, {0.0F, 0.5F, -1, 0}}, 10);
  expect_nms(ops(), {3, 4, 0, {0.0F, 0.5F, -1, -1}}, 11);
}

// More than one block sorts: with CUB.
TEST_F(CudaDetections, LongListsAreSortedWhole) {
  expect_nms(ops(), {1, 1, 9000, {0.0F, 0.99F, -1, -1}}, 1);
  expect_nms(ops(), {2, 3, 3000, {0.2F, 0.95F, -1, 8500}}, 2);
}

struct HeadCase {
  int images, rois, classes, sets;
  bool own_deltas;
  NmsSpec nms;
};

struct HeadData {
  std::vector<float> rois, deltas;
  std::vector<std::vector<float>> logits;
  std::vector<std::int32_t> counts;
  std::vector<float> resized{96.0F, 180.0F, 150.0F, 200.0F};
  std::vector<std::int32_t> sizes{48, 91, 300, 399};
};

HeadData random_head(const HeadCase& c, unsigned seed) {
  std::mt19937 random(seed);
  HeadData data;
  data.rois = random_boxes(random, c.images * c.rois);
  data.deltas = random_values(random, c.images * c.rois * 4 * (c.own_deltas ? c.classes : 1), 2.0F);
  for (int set = 0; set < c.sets; ++set) {
    data.logits.push_back(random_values(random, c.images * c.rois * (c.classes + 1), 2.0F));
  }
  data.logits[0][1] = kNaN;
  data.logits[0].back() = kInfinity;
  data.counts = {c.rois, c.rois / 2};
  return data;
}

// As the family does it, for one image.
std::vector<Found> detect_on_cpu(const HeadCase& c, const HeadData& data, std::size_t image) {
  const auto count = static_cast<std::size_t>(data.counts[image]);
  const auto rows = static_cast<std::size_t>(c.rois);
  const auto of_image = [&](const std::vector<float>& values, std::size_t width) {
    return slice(values, image * rows * width, count * width);
  };
  std::vector<std::vector<float>> sets;
  for (const std::vector<float>& set : data.logits) {
    sets.push_back(of_image(set, static_cast<std::size_t>(c.classes) + 1));
  }
  const std::vector<std::span<const float>> views(sets.begin(), sets.end());
  std::vector<float> probabilities;
  mean_softmax(views, c.classes + 1, probabilities);
  BoxDecodeScratch scratch;
  const float height = data.resized[2 * image];
  const float width = data.resized[2 * image + 1];
  std::vector<BoxDetection> boxes = decode_boxes(
      to_boxes(of_image(data.rois, 4)),
      of_image(data.deltas, c.own_deltas ? static_cast<std::size_t>(c.classes) * 4 : 4),
      probabilities, c.classes, {kBoxWeights, height, width, c.nms}, scratch);
  std::ranges::stable_sort(boxes, [](const BoxDetection& a, const BoxDetection& b) {
    return a.class_id != b.class_id ? a.class_id < b.class_id : a.score > b.score;
  });
  std::vector<Found> found;
  const int image_height = data.sizes[2 * image];
  const int image_width = data.sizes[2 * image + 1];
  for (const BoxDetection& box : boxes) {
    const Box placed =
        box_in_image(box.box, width / static_cast<float>(image_width),
                     height / static_cast<float>(image_height), image_height, image_width);
    if (placed.x2 > placed.x1 && placed.y2 > placed.y1) {
      found.push_back({box.class_id, box.roi, box.score, box.box, placed});
    }
  }
  return found;
}

void expect_head(const instseg_cuda_ops& ops, const HeadCase& c, unsigned seed) {
  Machine machine(ops);
  const HeadData data = random_head(c, seed);
  const int most = c.nms.keep_top_k < 0 ? c.classes * c.rois : c.nms.keep_top_k;
  instseg_cuda_box_detections op{};
  for (std::size_t set = 0; set < data.logits.size(); ++set) {
    op.logits[set] = machine.upload(data.logits[set]);
  }
  op.sets = c.sets;
  op.deltas_per_class = c.own_deltas ? 1 : 0;
  op.deltas = machine.upload(data.deltas);
  op.rois = machine.upload(data.rois);
  op.counts = machine.upload(data.counts);
  op.capacity = c.rois;
  op.images = c.images;
  op.classes = c.classes;
  std::ranges::copy(kBoxWeights, op.weights);
  op.resized_sizes = data.resized.data();
  op.image_sizes = data.sizes.data();
  op.nms = {c.nms.score_threshold, c.nms.iou_threshold, c.nms.nms_top_k, c.nms.keep_top_k};
  op.out = make_detections(machine, c.images, most);
  machine.run(ops.box_detections, op);
  const auto found = read_detections(machine, op.out, c.images);
  for (std::size_t image = 0; image < found.size(); ++image) {
    const std::vector<Found> expected = detect_on_cpu(c, data, image);
    ASSERT_EQ(found[image].size(), expected.size()) << "image " << image << ", seed " << seed;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found[image][i].class_id, expected[i].class_id) << i << ", seed " << seed;
      EXPECT_EQ(found[image][i].index, expected[i].index) << i << ", seed " << seed;
      EXPECT_TRUE(close(found[image][i].score, expected[i].score)) << i << ", seed " << seed;
      EXPECT_TRUE(close(found[image][i].box, expected[i].box)) << i << ", seed " << seed;
      EXPECT_TRUE(close(found[image][i].image_box, expected[i].image_box)) << i;
    }
  }
}

TEST_F(CudaDetections, BoxHeadsEqualTheCpu) {
  expect_head(ops(), {2, 60, 4, 1, true, {0.05F, 0.5F, -1, 100}}, 1);
  expect_head(ops(), {2, 60, 4, 3, false, {0.05F, 0.5F, -1, 20}}, 2);
  expect_head(ops(), {2, 9, 80, 1, true, {0.01F, 0.7F, 5, -1}}, 3);
  expect_head(ops(), {2, 1, 1, 2, false, {0.0F, 0.5F, -1, 100}}, 4);
}

TEST_F(CudaDetections, RefinedRoisEqualTheCpu) {
  Machine machine(ops());
  const HeadData data = random_head({2, 50, 1, 1, false, {}}, 5);
  float* const boxes = machine.upload(data.rois);  // in place
  instseg_cuda_refine_rois op{
      boxes, machine.upload(data.deltas),  machine.upload(data.counts), 50,
      2,     {20.0F, 20.0F, 10.0F, 10.0F}, data.resized.data(),         boxes};
  machine.run(ops().refine_rois, op);
  const std::vector<float> found = machine.download(boxes, 2 * 50 * 4);
  for (std::size_t image = 0; image < 2; ++image) {
    const auto count = static_cast<std::size_t>(data.counts[image]);
    std::vector<Box> expected;
    refine_rois(to_boxes(slice(data.rois, image * 200, count * 4)),
                slice(data.deltas, image * 200, count * 4), {20.0F, 20.0F, 10.0F, 10.0F},
                data.resized[2 * image], data.resized[2 * image + 1], expected);
    for (std::size_t i = 0; i < count; ++i) {
      const Box box = box_at(found, image * 50 + i);
      EXPECT_TRUE(close(box, expected[i]) || std::isnan(expected[i].y2)) << image << ", " << i;
    }
  }
}

void expect_queries(const instseg_cuda_ops& ops, int queries, int classes, int top_k,
                    float threshold, unsigned seed) {
  constexpr int kImages = 2;
  Machine machine(ops);
  std::mt19937 random(seed);
  const int pairs = queries * classes;
  std::vector<float> logits = random_scores(random, kImages * pairs);
  const std::vector<float> boxes = random_values(random, kImages * queries * 4, 0.5F);
  const std::vector<std::int32_t> sizes{40, 60, 33, 21};
  const int most = top_k < 0 ? pairs : top_k;
  const instseg_cuda_query_select op{machine.upload(logits),
                                     machine.upload(boxes),
                                     kImages,
                                     queries,
                                     classes,
                                     top_k,
                                     threshold,
                                     sizes.data(),
                                     make_detections(machine, kImages, most)};
  machine.run(ops.query_select, op);
  const auto found = read_detections(machine, op.out, kImages);
  const std::vector<float> zeros(static_cast<std::size_t>(queries));
  const std::vector<float> feature(1);
  ThreadPool pool(1);
  QueryScratch scratch;
  for (std::size_t image = 0; image < kImages; ++image) {
    const std::vector<float> image_logits =
        slice(logits, image * static_cast<std::size_t>(pairs), static_cast<std::size_t>(pairs));
    const std::vector<float> image_boxes =
        slice(boxes, image * static_cast<std::size_t>(queries) * 4,
              static_cast<std::size_t>(queries) * 4);
    const std::vector<QueryInstance> expected = decode_queries(
        {image_logits, image_boxes, zeros, feature, queries, classes, 1, 1, 1}, sizes[2 * image],
        sizes[2 * image + 1], {top_k, 0.5F, threshold}, pool, scratch);
    ASSERT_EQ(found[image].size(), expected.size()) << "image " << image << ", seed " << seed;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found[image][i].class_id, expected[i].class_id) << i << ", seed " << seed;
      EXPECT_EQ(found[image][i].index, expected[i].query) << i << ", seed " << seed;
      EXPECT_TRUE(close(found[image][i].score, expected[i].score)) << i << ", seed " << seed;
      EXPECT_TRUE(close(found[image][i].image_box, expected[i].box)) << i << ", seed " << seed;
    }
  }
}

TEST_F(CudaDetections, QueriesEqualTheCpu) {
  expect_queries(ops(), 100, 80, 100, 0.5F, 1);
  expect_queries(ops(), 30, 7, -1, 0.0F, 2);
  expect_queries(ops(), 300, 20, 3000, 0.6F, 3);
  expect_queries(ops(), 5, 1, 10, 1.0F, 4);
  expect_queries(ops(), 5, 3, 0, 0.0F, 5);
}

TEST_F(CudaDetections, RefusesWhatIsWrong) {
  Machine machine(ops());
  instseg_cuda_multiclass_nms op{};
  op.images = 1;
  op.classes = 2;
  op.anchors = 10;
  op.nms = {0.1F, 0.5F, -1, 15};
  op.out.capacity = 14;
  EXPECT_NE(machine.error_of(ops().multiclass_nms, op).find("at least 15"), std::string::npos);
  op.out.capacity = 15;
  op.nms.iou_threshold = kNaN;
  EXPECT_NE(machine.error_of(ops().multiclass_nms, op).find("NaN"), std::string::npos);
  op.classes = 0;
  EXPECT_NE(machine.error_of(ops().multiclass_nms, op).find("classes is 0"), std::string::npos);
}

}  // namespace
}  // namespace instseg::testing_cuda
