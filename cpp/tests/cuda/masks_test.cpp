#include "cuda/masks_testing.hpp"
#include "ops/mask_decode.hpp"
#include "ops/mask_paste.hpp"
#include "ops/plane_testing.hpp"
#include "ops/query_decode.hpp"
#include "ops/sigmoid.hpp"

namespace instseg::testing_cuda {
namespace {

using testing_planes::random_values;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CudaMasks : public CudaOps {};

// Two images with lists of different length, and boxes of every kind.
struct PrototypeCase {
  int channels, rows, columns, network_height, network_width;
  std::vector<std::int32_t> image_sizes;  // 2 x 2
  float threshold;
};

std::vector<float> odd_boxes(float width, float height) {
  return {0.1F * width,
          0.2F * height,
          0.7F * width,
          0.9F * height,  //
          -50,
          -50,
          2 * width,
          2 * height,  // beyond the input
          3.5F,
          4.25F,
          3.9F,
          4.75F,  // between pixel centres
          10,
          10,
          5,
          20,  // inverted
          kNaN,
          0,
          9,
          9,  //
          0,
          0,
          1,
          1,  // one pixel
          width - 1,
          height - 1,
          width + 3,
          height + 3,  //
          0.3F * width,
          -5,
          0.31F * width,
          kInfinity};
}

void expect_prototype_masks(const instseg_cuda_ops& ops, const PrototypeCase& c, unsigned seed) {
  constexpr int kImages = 2, kAnchors = 9, kCapacity = 8;
  Machine machine(ops);
  std::mt19937 random(seed);
  const int cells = c.rows * c.columns;
  const auto prototypes = random_values(random, kImages * c.channels * cells, 0.7F);
  const auto coefficients = random_values(random, kImages * c.channels * kAnchors, 0.7F);
  const auto width = static_cast<float>(c.network_width);
  const auto height = static_cast<float>(c.network_height);
  std::vector<float> boxes = odd_boxes(width, height);
  boxes.insert(boxes.end(), boxes.begin(), boxes.end());  // of both images
  const std::vector<std::int32_t> indices{3, 1, 4, 1, 5, 8, 2, 6, 0, 0, 7, 7, 5, 2, 2, 1};
  const std::vector<std::int32_t> counts{8, 3};
  instseg_cuda_prototype_masks op{machine.upload(prototypes),
                                  machine.upload(coefficients),
                                  machine.upload(indices),
                                  machine.upload(boxes),
                                  machine.upload(counts),
                                  kCapacity,
                                  kImages,
                                  c.channels,
                                  kAnchors,
                                  c.rows,
                                  c.columns,
                                  c.network_height,
                                  c.network_width,
                                  c.image_sizes.data(),
                                  c.threshold,
                                  make_masks(machine, kImages * kCapacity, 200000)};
  machine.run(ops.prototype_masks, op);
  const std::vector<PackedMask> found = read_masks(machine, op.out, kImages * kCapacity);
  MaskScratch scratch;
  for (std::size_t n = 0; n < found.size(); ++n) {
    const std::size_t image = n / kCapacity;
    PackedMask expected;
    if (static_cast<int>(n % kCapacity) < counts[image]) {
      std::vector<float> chosen;
      for (int channel = 0; channel < c.channels; ++channel) {
        const std::size_t row =
            image * static_cast<std::size_t>(c.channels) + static_cast<std::size_t>(channel);
        chosen.push_back(coefficients[row * kAnchors + static_cast<std::size_t>(indices[n])]);
      }
      const std::size_t plane = static_cast<std::size_t>(c.channels * cells);
      expected = decode_prototype_mask(
          slice(prototypes, image * plane, plane), c.channels, c.rows, c.columns, chosen,
          {boxes[4 * n], boxes[4 * n + 1], boxes[4 * n + 2], boxes[4 * n + 3]},
          c.image_sizes[2 * image], c.image_sizes[2 * image + 1],
          {c.network_height, c.network_width, c.threshold}, scratch);
    }
    EXPECT_TRUE(same_mask(found[n], expected)) << "instance " << n << ", seed " << seed;
  }
}

TEST_F(CudaMasks, PrototypesEqualTheCpu) {
  expect_prototype_masks(ops(), {32, 40, 40, 160, 160, {480, 640, 33, 47}, 0.5F}, 1);
  expect_prototype_masks(ops(), {5, 20, 28, 40, 56, {40, 56, 20, 28}, 0.3F}, 2);
  expect_prototype_masks(ops(), {3, 16, 16, 16, 16, {1, 1, 300, 7}, 0.0F}, 3);
  expect_prototype_masks(ops(), {19, 1, 1, 30, 30, {64, 31, 65, 32}, 0.5F}, 4);
}

// One image and its queries; the CPU op chooses, and the GPU op makes the masks of its choice.
void expect_query_masks(const instseg_cuda_ops& ops, int channels, int rows, int columns,
                        int height, int width, float threshold, unsigned seed) {
  constexpr int kQueries = 7, kCapacity = 10;
  Machine machine(ops);
  std::mt19937 random(seed);
  const int cells = rows * columns;
  const auto logits = random_values(random, kQueries, 1.0F);
  const auto boxes = random_values(random, kQueries * 4, 1.0F);
  auto embeddings = random_values(random, kQueries * channels, 0.5F);
  auto features = random_values(random, channels * cells, 0.5F);
  features[0] = kNaN;
  features.back() = kInfinity;
  std::fill_n(embeddings.begin(), channels, 0.0F);  // a query without a mask
  ThreadPool pool(1);
  QueryScratch scratch;
  const std::vector<QueryInstance> expected =
      decode_queries({logits, boxes, embeddings, features, kQueries, 1, channels, rows, columns},
                     height, width, {-1, threshold, 0.0F}, pool, scratch);
  std::vector<std::int32_t> indices(kCapacity, -1);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    indices[i] = expected[i].query;
  }
  const std::vector<std::int32_t> counts{static_cast<int>(expected.size())};
  const std::vector<std::int32_t> sizes{height, width};
  instseg_cuda_query_masks op{machine.upload(embeddings),
                              machine.upload(features),
                              machine.upload(indices),
                              machine.upload(counts),
                              kCapacity,
                              1,
                              channels,
                              kQueries,
                              rows,
                              columns,
                              sizes.data(),
                              threshold,
                              make_masks(machine, kCapacity, 100000)};
  machine.run(ops.query_masks, op);
  const std::vector<PackedMask> found = read_masks(machine, op.out, kCapacity);
  for (std::size_t n = 0; n < found.size(); ++n) {
    EXPECT_TRUE(same_mask(found[n], n < expected.size() ? expected[n].mask : PackedMask()))
        << "instance " << n << ", seed " << seed;
  }
}

TEST_F(CudaMasks, QueriesEqualTheCpu) {
  expect_query_masks(ops(), 32, 40, 40, 120, 200, 0.5F, 1);
  expect_query_masks(ops(), 8, 30, 50, 30, 50, 0.9F, 2);
  expect_query_masks(ops(), 8, 64, 64, 17, 33, 0.5F, 3);
  expect_query_masks(ops(), 4, 5, 3, 77, 31, 0.2F, 4);
  expect_query_masks(ops(), 3, 1, 1, 9, 70, 0.5F, 5);
}

void expect_pasted(const instseg_cuda_ops& ops, int classes, int rows, int columns, int height,
                   int width, float threshold, unsigned seed) {
  Machine machine(ops);
  std::mt19937 random(seed);
  std::vector<float> boxes = odd_boxes(static_cast<float>(width), static_cast<float>(height));
  boxes.insert(boxes.end(), {2, 2, 2.001F, 3e38F, 5, 5, 7, 7});
  const auto capacity = static_cast<int>(boxes.size() / 4);
  auto logits = random_values(random, capacity * classes * rows * columns, 3.0F);
  logits[1] = kNaN;
  logits[2] = kInfinity;
  std::vector<std::int32_t> class_ids;
  for (int i = 0; i < capacity; ++i) {
    class_ids.push_back(i % classes);
  }
  const std::vector<std::int32_t> counts{capacity - 1};
  const std::vector<std::int32_t> sizes{height, width};
  instseg_cuda_paste_masks op{machine.upload(logits),
                              machine.upload(class_ids),
                              machine.upload(boxes),
                              machine.upload(counts),
                              capacity,
                              1,
                              classes,
                              rows,
                              columns,
                              sizes.data(),
                              threshold,
                              make_masks(machine, capacity, 100000)};
  machine.run(ops.paste_masks, op);
  const std::vector<PackedMask> found = read_masks(machine, op.out, capacity);
  MaskPasteScratch scratch;
  for (std::size_t n = 0; n < found.size(); ++n) {
    PackedMask expected;
    if (static_cast<int>(n) < counts[0]) {
      const auto cells = static_cast<std::size_t>(rows * columns);
      const std::size_t at =
          n * static_cast<std::size_t>(classes) + static_cast<std::size_t>(class_ids[n]);
      std::vector<float> map = slice(logits, at * cells, cells);
      sigmoid(map);
      expected = paste_mask(map, rows, columns,
                            {boxes[4 * n], boxes[4 * n + 1], boxes[4 * n + 2], boxes[4 * n + 3]},
                            height, width, threshold, scratch);
    }
    EXPECT_TRUE(same_mask(found[n], expected)) << "instance " << n << ", seed " << seed;
  }
}

TEST_F(CudaMasks, PastedMapsEqualTheCpu) {
  expect_pasted(ops(), 3, 28, 28, 200, 300, 0.5F, 1);
  expect_pasted(ops(), 1, 14, 14, 64, 33, 0.7F, 2);
  expect_pasted(ops(), 2, 1, 5, 40, 500, 0.1F, 3);
}

TEST_F(CudaMasks, NoInstanceAndNoImage) {
  Machine machine(ops());
  const std::vector<std::int32_t> sizes{20, 30};
  const std::vector<std::int32_t> counts{0};
  instseg_cuda_query_masks op{};
  op.counts = machine.upload(counts);
  op.capacity = 3;
  op.images = 1;
  op.channels = 2;
  op.rows = op.columns = 4;
  op.image_sizes = sizes.data();
  op.threshold = 0.5F;
  op.out = make_masks(machine, 3, 0);
  machine.run(ops().query_masks, op);
  EXPECT_EQ(machine.download(op.out.offsets, 4), std::vector<std::int64_t>(4, 0));
  op.images = 0;
  op.out = make_masks(machine, 0, 0);
  machine.run(ops().query_masks, op);
  EXPECT_EQ(machine.download(op.out.offsets, 1), std::vector<std::int64_t>(1, 0));
}

TEST_F(CudaMasks, WordsThatDoNotFitAreNotWritten) {
  Machine machine(ops());
  const std::vector<float> logits(2 * 4, 5.0F);
  const std::vector<std::int32_t> class_ids{0, 0};
  const std::vector<float> boxes{0, 0, 64, 10, 0, 0, 64, 10};
  const std::vector<std::int32_t> counts{2};
  const std::vector<std::int32_t> sizes{10, 64};
  instseg_cuda_paste_masks op{machine.upload(logits),
                              machine.upload(class_ids),
                              machine.upload(boxes),
                              machine.upload(counts),
                              2,
                              1,
                              1,
                              2,
                              2,
                              sizes.data(),
                              0.5F,
                              make_masks(machine, 2, 39)};
  machine.run(ops().paste_masks, op);
  EXPECT_EQ(machine.download(op.out.offsets, 3), (std::vector<std::int64_t>{0, 20, 40}));
  const std::vector<std::uint32_t> words = machine.download(op.out.words, 39);
  EXPECT_NE(words[19], 0xCDCDCDCDU);
  EXPECT_EQ(words[20], 0xCDCDCDCDU);
}

TEST_F(CudaMasks, RefusesWhatIsWrong) {
  Machine machine(ops());
  const std::vector<std::int32_t> sizes{10, 0};
  instseg_cuda_query_masks op{};
  op.images = 1;
  op.capacity = 1;
  op.channels = 1;
  op.rows = op.columns = 2;
  op.image_sizes = sizes.data();
  EXPECT_NE(machine.error_of(ops().query_masks, op).find("an image is 0 x 10"), std::string::npos);
  op.images = 65;
  EXPECT_NE(machine.error_of(ops().query_masks, op).find("at most 64"), std::string::npos);
  op.images = -1;
  EXPECT_NE(machine.error_of(ops().query_masks, op).find("-1"), std::string::npos);
}

}  // namespace
}  // namespace instseg::testing_cuda
