// Stages with open sizes on OpenVINO: the bundle of tests/open_bundle.py, without a family.
#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "backends/session.hpp"
#include "bundle/read_bundle.hpp"
#include "core/buffer.hpp"
#include "families/stage_check.hpp"
#include "instseg/predictor.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using Shape = std::vector<std::int64_t>;

// A tensor that owns its memory.
struct Tensor {
  explicit Tensor(Shape size) : shape(std::move(size)) {
    values = memory.reserve(static_cast<std::size_t>(
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(i * 37 % 101) / 101.0F;
    }
  }
  [[nodiscard]] TensorView view() const { return {memory.data(), shape}; }

  FloatBuffer memory;
  std::span<float> values;
  Shape shape;
};

Shape shape_of(const TensorView& view) { return {view.shape.begin(), view.shape.end()}; }

std::span<const float> values_of(const TensorView& view) {
  return {static_cast<const float*>(view.data),
          static_cast<std::size_t>(std::accumulate(view.shape.begin(), view.shape.end(),
                                                   std::int64_t{1}, std::multiplies<>()))};
}

// Pixel (x, y) of channel `channel` of the stage `features`, image `image`.
float feature(const Tensor& image, std::int64_t index, std::int64_t channel, std::int64_t y,
              std::int64_t x) {
  if (channel == 3) {
    return feature(image, index, 0, y, x) + feature(image, index, 1, y, x) +
           feature(image, index, 2, y, x);
  }
  const auto at = [&](std::int64_t row, std::int64_t column) {
    return image.values[static_cast<std::size_t>(
        ((index * 3 + channel) * image.shape[2] + row) * image.shape[3] + column)];
  };
  return (at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + at(2 * y + 1, 2 * x) +
          at(2 * y + 1, 2 * x + 1)) /
         4.0F;
}

void expect_features(const Tensor& image, const TensorView& features) {
  const Shape shape{image.shape[0], 4, image.shape[2] / 2, image.shape[3] / 2};
  ASSERT_EQ(shape_of(features), shape);
  const std::span<const float> values = values_of(features);
  std::size_t position = 0;
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    for (std::int64_t channel = 0; channel < 4; ++channel) {
      for (std::int64_t y = 0; y < shape[2]; ++y) {
        for (std::int64_t x = 0; x < shape[3]; ++x, ++position) {
          ASSERT_NEAR(values[position], feature(image, i, channel, y, x), 1e-5)
              << i << ", " << channel << ", " << y << ", " << x;
        }
      }
    }
  }
}

class OpenVinoSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path folder = testing::environment("INSTSEG_TEST_OPEN_BUNDLE");
    if (!fs::exists(folder / "manifest.yaml")) {
      GTEST_SKIP() << "run by ctest, which writes the bundle and sets INSTSEG_TEST_OPEN_BUNDLE";
    }
    bundle_ = read_bundle(folder);
    backend_ = load_backend("openvino", "cpu");
  }

  std::unique_ptr<Session> session(const StageSpec& stage, int contexts = 1) const {
    return std::make_unique<Session>(backend_, stage, SessionOptions{"cpu", "fp32", 1, contexts});
  }
  std::unique_ptr<Session> session(const char* stage) const {
    return session(find_stage(bundle_, stage));
  }
  const BundleInfo& bundle() const { return bundle_; }

 private:
  BundleInfo bundle_;
  std::shared_ptr<const Backend> backend_;
};

TEST_F(OpenVinoSessionTest, ManifestIsRead) {
  EXPECT_EQ(bundle().input.resize, InputSpec::Resize::keep_ratio);
  EXPECT_EQ(bundle().input.short_side, 32);
  EXPECT_EQ(bundle().input.pad_stride, 16);
  EXPECT_TRUE(bundle().input.normalize_first);
  EXPECT_EQ(to_string(bundle().stages[0].inputs[0].shape), "[batch, 3, height, width]");
  EXPECT_EQ(to_string(bundle().stages[2].outputs[0].shape), "[2, found]");
}

TEST_F(OpenVinoSessionTest, HeightAndWidthFromRunToRun) {
  const auto made = session("features");
  SessionContext context = made->create_context();
  for (const Shape& shape : {Shape{1, 3, 16, 32}, {1, 3, 32, 16}, {2, 3, 48, 64}, {1, 3, 16, 32}}) {
    const Tensor image(shape);
    const TensorView features = context.run(std::vector{image.view()})[0];
    expect_features(image, features);
  }
}

TEST_F(OpenVinoSessionTest, NothingIsAllocatedForShapesThatRepeat) {
  const auto made = session("features");
  SessionContext context = made->create_context();
  const Tensor image({1, 3, 64, 64});
  std::set<const void*> seen;
  for (int run = 0; run < 8; ++run) {
    const TensorView features = context.run(std::vector{image.view()})[0];
    expect_features(image, features);
    if (run >= 2) {
      seen.insert(features.data);
    }
  }
  EXPECT_LE(seen.size(), 2U);  // OpenVINO alternates between two
}

TEST_F(OpenVinoSessionTest, MemoryOfTheCallerForOpenSizes) {
  const auto made = session("features");
  SessionContext context = made->create_context();
  const Tensor image({2, 3, 16, 32});
  const Tensor other({1, 3, 64, 32});
  const Tensor features({2, 4, 8, 16});
  const Tensor other_features({1, 4, 32, 16});
  const Tensor too_large({2, 4, 8, 17});
  const Tensor too_small({2, 4, 8, 15});
  for (int run = 0; run < 3; ++run) {
    const TensorView result =
        context.run(std::vector{image.view()}, std::vector{features.view()})[0];
    EXPECT_EQ(result.data, features.view().data);
    expect_features(image, features.view());
    (void)context.run(std::vector{other.view()}, std::vector{other_features.view()});
    expect_features(other, other_features.view());
    for (const Tensor* wrong : {&too_large, &too_small}) {
      expect_error(
          ErrorCode::bad_bundle,
          {"openvino cannot run stage 'features'",
           "output 'features' has shape [2,4,8,16], expected"},
          [&] { (void)context.run(std::vector{image.view()}, std::vector{wrong->view()}); });
    }
    expect_features(image, context.run(std::vector{image.view()})[0]);
  }
}

// Image `index` of a batch, as a batch of one.
Tensor image_of(const Tensor& batch, std::int64_t index) {
  Shape shape = batch.shape;
  shape[0] = 1;
  Tensor image(shape);
  const auto first = static_cast<std::ptrdiff_t>(image.values.size()) * index;
  std::copy_n(batch.values.begin() + first, image.values.size(), image.values.begin());
  return image;
}

// Every image of the batch has in `together` what `alone`, a context, gives for it.
void expect_images(const Tensor& images, std::span<const TensorView> together,
                   SessionContext& alone) {
  for (std::int64_t i = 0; i < images.shape[0]; ++i) {
    const Tensor image = image_of(images, i);
    const std::span<const TensorView> outputs = alone.run(std::vector{image.view()});
    for (std::size_t output = 0; output < outputs.size(); ++output) {
      const std::span<const float> expected = values_of(outputs[output]);
      const std::span<const float> all = values_of(together[output]);
      ASSERT_EQ(all.size(), expected.size() * static_cast<std::size_t>(images.shape[0]));
      EXPECT_TRUE(std::ranges::equal(
          all.subspan(expected.size() * static_cast<std::size_t>(i), expected.size()), expected))
          << "image " << i << " of " << images.shape[0] << ", output " << output;
    }
  }
}

// With eight contexts there are eight lanes: two images go one after the other, five side by side.
TEST_F(OpenVinoSessionTest, ImagesOfABatchGetWhatTheyGetAlone) {
  const StageSpec open = find_stage(bundle(), "features");
  const StageSpec fixed = read_bundle(testing::environment("INSTSEG_TEST_BUNDLE")).stages.front();
  for (const StageSpec& stage : {open, fixed}) {
    for (const int contexts : {1, 2, 8}) {
      SCOPED_TRACE(stage.name + ", " + std::to_string(contexts) + " contexts");
      const auto made = session(stage, contexts);
      SessionContext context = made->create_context();
      SessionContext other = made->create_context();
      for (const std::int64_t batch : {2, 5, 8, 3}) {
        const Tensor images({batch, 3, 64, 64});
        expect_images(images, context.run(std::vector{images.view()}), other);
      }
    }
  }
}

// Each with a network of its own for single images, and all with all networks for batches. A fourth
// context shares one.
TEST_F(OpenVinoSessionTest, ContextsRunAtTheSameTime) {
  const StageSpec stage = read_bundle(testing::environment("INSTSEG_TEST_BUNDLE")).stages.front();
  const auto made = session(stage, 3);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&made, i] {
      SessionContext context = made->create_context();
      SessionContext other = made->create_context();
      for (int run = 0; run < 10; ++run) {
        const Tensor images({1 + (run + i) % 4, 3, 64, 64});
        expect_images(images, context.run(std::vector{images.view()}), other);
      }
    });
  }
}

TEST_F(OpenVinoSessionTest, RegionsOfFeatures) {
  const auto features_session = session("features");
  const auto head_session = session("box_head");
  SessionContext features_context = features_session->create_context();
  SessionContext head_context = head_session->create_context();
  const Tensor image({1, 3, 64, 96});
  const TensorView features = features_context.run(std::vector{image.view()})[0];
  const std::span<const float> values = values_of(features);
  for (const std::int64_t rois : {5, 1, 300, 0, 5}) {
    Tensor regions({rois, 4, 7, 7});
    // Region r starts at column r % 40 and row r % 20.
    std::vector<float> means(static_cast<std::size_t>(rois * 4));
    for (std::int64_t i = 0; i < rois * 4 * 49; ++i) {
      const std::int64_t region = i / 196, channel = i / 49 % 4, y = i / 7 % 7, x = i % 7;
      const float value =
          values[static_cast<std::size_t>((channel * 32 + region % 20 + y) * 48 + region % 40 + x)];
      regions.values[static_cast<std::size_t>(i)] = value;
      means[static_cast<std::size_t>(region * 4 + channel)] += value / 49.0F;
    }
    const std::span<const TensorView> outputs = head_context.run(std::vector{regions.view()});
    ASSERT_EQ(shape_of(outputs[0]), (Shape{rois, 4}));
    ASSERT_EQ(shape_of(outputs[1]), (Shape{rois, 12}));
    for (std::size_t i = 0; i < means.size(); ++i) {
      ASSERT_NEAR(values_of(outputs[0])[i], means[i], 1e-4);
    }
    for (std::int64_t region = 0; region < rois; ++region) {
      const float last = means[static_cast<std::size_t>(region * 4 + 3)];
      ASSERT_NEAR(values_of(outputs[1])[static_cast<std::size_t>(region * 12 + 11)], 12.0F * last,
                  1e-3);
    }
  }
}

TEST_F(OpenVinoSessionTest, SizesThatDependOnData) {
  const auto made = session("select");
  SessionContext context = made->create_context();
  for (const std::int64_t batch : {1, 3}) {
    for (const std::size_t found : {2U, 0U, 4U, 2U}) {
      Tensor values({batch, 5});
      std::ranges::fill(values.values, 0.0F);
      std::fill_n(values.values.begin(), found, 1.0F);
      const TensorView indices = context.run(std::vector{values.view()})[0];
      ASSERT_EQ(shape_of(indices), (Shape{2, static_cast<std::int64_t>(found)}));
      for (std::size_t i = 0; i < found; ++i) {
        EXPECT_EQ(static_cast<const std::int64_t*>(indices.data)[found + i],
                  static_cast<std::int64_t>(i));
      }
    }
  }
  StageSpec fixed = find_stage(bundle(), "select");
  fixed.outputs[0].shape[1] = {3, {}};
  expect_error(
      ErrorCode::bad_bundle,
      {"(stage 'select')", "output 'indices' is int64 [2, ?]", "[2, 3]", "depends on data"},
      [&] { (void)session(fixed); });
}

TEST(OpenVinoBackendTest, DescribesTheProcessorAndItsKernels) {
  const DeviceInfo found = describe_device("openvino", "cpu");
  EXPECT_FALSE(found.name.empty());
  EXPECT_TRUE((std::set<std::string>{"avx512 amx", "avx512", "avx2", ""}).contains(found.runtime))
      << found.runtime;
  EXPECT_EQ(found.sm, 0);
  expect_error(ErrorCode::unsupported, {"'openvino'", "'gpu:0'", "does not run on it"},
               [] { (void)describe_device("openvino", "gpu:0"); });
}

TEST_F(OpenVinoSessionTest, FixedStageWithoutMemoryOfTheCaller) {
  const fs::path folder = testing::environment("INSTSEG_TEST_BUNDLE");
  const auto made = session(read_bundle(folder).stages.front());
  SessionContext context = made->create_context();
  for (const std::int64_t batch : {1, 3, 1}) {
    const Tensor image({batch, 3, 64, 64});
    const Tensor boxes({batch, 16, 4});
    const Tensor scores({batch, 3, 16});
    const std::vector<TensorView> half = {boxes.view(), scores.view(), {}, {}};
    const std::span<const TensorView> mixed = context.run(std::vector{image.view()}, half);
    EXPECT_EQ(mixed[1].data, scores.view().data);
    EXPECT_EQ(shape_of(mixed[3]), (Shape{batch, 3, 16, 16}));
    const std::span<const TensorView> own = context.run(std::vector{image.view()});
    EXPECT_NE(own[1].data, scores.view().data);
    EXPECT_TRUE(std::ranges::equal(values_of(own[1]), scores.values));
  }
}

}  // namespace
}  // namespace instseg
