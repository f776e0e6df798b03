// On the bundle of tests/tiny_bundle.py: 16 cells, classes red, green, blue, network input 64 x 64.
#include "instseg/predictor.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "core/sha256.hpp"
#include "instseg/version.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;

// A BGR image, black except for rectangles.
class Picture {
 public:
  Picture(int height, int width)
      : height_(height), width_(width), pixels_(std::size_t(3) * std::size_t(height * width)) {}

  // channel: 0 blue, 1 green, 2 red.
  Picture& fill(int x1, int y1, int x2, int y2, int channel) {
    for (int y = y1; y < y2; ++y) {
      for (int x = x1; x < x2; ++x) {
        pixels_[std::size_t(3 * (y * width_ + x) + channel)] = 255;
      }
    }
    return *this;
  }

  ImageView view() const {
    return {pixels_.data(), height_, width_, std::ptrdiff_t{3} * width_, PixelFormat::bgr8};
  }

 private:
  int height_;
  int width_;
  std::vector<std::uint8_t> pixels_;
};

// Cell (1, 1) of the network is red: 128 x 192 pixels, cells of 48 x 32.
Picture red_cell() { return Picture(128, 192).fill(48, 32, 96, 64, 2); }

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0;
  std::int64_t resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void expect_same(const Result& a, const Result& b) {
  EXPECT_EQ(a.image_height, b.image_height);
  EXPECT_EQ(a.image_width, b.image_width);
  ASSERT_EQ(a.instances.size(), b.instances.size());
  for (std::size_t i = 0; i < a.instances.size(); ++i) {
    EXPECT_EQ(a.instances[i].class_id, b.instances[i].class_id);
    EXPECT_NEAR(a.instances[i].score, b.instances[i].score, 1e-6);
    EXPECT_EQ(a.instances[i].box, b.instances[i].box);
    EXPECT_EQ(a.instances[i].mask, b.instances[i].mask);
  }
}

class PredictorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(bundle() / "manifest.yaml")) {
      GTEST_SKIP() << "run by ctest, which writes the bundle and sets INSTSEG_TEST_BUNDLE";
    }
  }

  static fs::path bundle() { return testing::environment("INSTSEG_TEST_BUNDLE"); }

  // A copy of the bundle with a changed manifest.
  static void copy_with(const fs::path& folder, const std::string& from, const std::string& to) {
    fs::copy(bundle(), folder, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    std::string manifest = testing::read_file(folder / "manifest.yaml");
    const std::size_t at = manifest.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    manifest.replace(at, from.size(), to);
    testing::write_file(folder / "manifest.yaml", manifest);
  }
};

TEST_F(PredictorTest, FindsTheRedCell) {
  const Predictor predictor(bundle());
  EXPECT_EQ(predictor.backend(), "openvino");
  EXPECT_EQ(predictor.device(), "cpu");
  EXPECT_EQ(predictor.precision(), "fp32");
  EXPECT_FLOAT_EQ(predictor.threshold(), 0.5F);
  EXPECT_FALSE(predictor.backend_version().empty());
  const Picture picture = red_cell();
  const Result result = predictor(picture.view());
  EXPECT_EQ(result.image_height, 128);
  EXPECT_EQ(result.image_width, 192);
  ASSERT_EQ(result.instances.size(), 1U);
  const Instance& found = result.instances.front();
  EXPECT_EQ(found.class_id, 0);
  // Logit 10 * (1 - 0.5) of a full cell; sampling at the border mixes in some black.
  EXPECT_NEAR(found.score, 1.0 / (1.0 + std::exp(-5.0)), 0.01);
  EXPECT_EQ(found.box, (Box{48.0F, 32.0F, 96.0F, 64.0F}));
  // The interpolation of the prototypes and the cut at the box take a rim of a prototype cell at
  // most.
  EXPECT_GE(found.mask.area(), std::int64_t{48 - 12} * (32 - 8));
  EXPECT_LE(found.mask.area(), std::int64_t{48} * 32);
  EXPECT_TRUE(found.mask.test(72, 48));
  EXPECT_FALSE(found.mask.test(20, 20));
  EXPECT_EQ(result.timings.batch, 1);
  EXPECT_GT(result.timings.inference_ms, 0.0);
  EXPECT_GE(result.timings.total_ms, result.timings.preprocess_ms + result.timings.inference_ms +
                                         result.timings.postprocess_ms);
}

TEST_F(PredictorTest, ColourOrderOfTheImageMatters) {
  const Predictor predictor(bundle());
  const Picture picture = red_cell();
  ImageView view = picture.view();
  view.format = PixelFormat::rgb8;
  const Result result = predictor(view);
  ASSERT_EQ(result.instances.size(), 1U);
  EXPECT_EQ(result.instances.front().class_id, 2);  // blue
}

TEST_F(PredictorTest, OrderIsByClassThenScore) {
  const Predictor predictor(bundle());
  Picture picture(64, 64);
  picture.fill(0, 0, 16, 16, 0)
      .fill(16, 0, 32, 16, 2)
      .fill(0, 32, 16, 48, 1)
      .fill(32, 32, 46, 48, 2);
  const Result result = predictor(picture.view());
  std::vector<int> classes;
  for (const Instance& instance : result.instances) {
    classes.push_back(instance.class_id);
  }
  EXPECT_EQ(classes, (std::vector<int>{0, 0, 1, 2}));
  EXPECT_GT(result.instances[0].score, result.instances[1].score);
}

TEST_F(PredictorTest, ThresholdIsStrictAndCanBeGivenPerCall) {
  const Picture picture = red_cell();
  const ImageView view = picture.view();
  const Predictor predictor(bundle(), {.threshold = 0.999F});
  EXPECT_TRUE(predictor(view).instances.empty());
  const std::vector<Result> found = predictor.predict(std::span(&view, 1), 0.5F);
  ASSERT_EQ(found.front().instances.size(), 1U);
  const float score = found.front().instances.front().score;
  EXPECT_TRUE(predictor.predict(std::span(&view, 1), score).front().instances.empty());
  EXPECT_EQ(
      predictor.predict(std::span(&view, 1), std::nextafter(score, 0.0F)).front().instances.size(),
      1U);
  // Below the bundle's score_threshold of the NMS nothing more comes.
  const std::size_t all = predictor.predict(std::span(&view, 1), 0.0F).front().instances.size();
  EXPECT_EQ(predictor.predict(std::span(&view, 1), 0.01F).front().instances.size(), all);
}

TEST_F(PredictorTest, BatchEqualsSingle) {
  const Predictor predictor(bundle());
  std::vector<Picture> pictures;
  std::vector<ImageView> views;
  for (int i = 0; i < 11; ++i) {  // batch.max is 4: chunks of 4, 4 and 3
    const int height = 40 + 17 * i;
    const int width = 300 - 23 * i;
    pictures.emplace_back(height, width);
    pictures.back()
        .fill(width / 4, height / 4, width / 2, height / 2, i % 3)
        .fill(0, height / 2, width / 3, height, 1);
  }
  for (const Picture& picture : pictures) {
    views.push_back(picture.view());
  }
  const std::vector<Result> together = predictor.predict(views);
  ASSERT_EQ(together.size(), views.size());
  std::size_t found = 0;
  for (std::size_t i = 0; i < views.size(); ++i) {
    expect_same(together[i], predictor(views[i]));
    EXPECT_EQ(together[i].timings.batch, i < 8 ? 4 : 3);
    found += together[i].instances.size();
  }
  EXPECT_GE(found, views.size());
  EXPECT_TRUE(predictor.predict({}).empty());
}

TEST_F(PredictorTest, ManyThreads) {
  const Predictor predictor(bundle(), {.threads = 2, .contexts = 2});
  const Picture red = red_cell();
  const Picture green = Picture(50, 70).fill(0, 0, 35, 25, 1);
  const Result expected_red = predictor(red.view());
  const Result expected_green = predictor(green.view());
  ASSERT_FALSE(expected_green.instances.empty());
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        if ((i + k) % 3 == 0) {
          const std::vector<ImageView> views = {red.view(), green.view(), red.view()};
          const std::vector<Result> results = predictor.predict(views);
          expect_same(results[0], expected_red);
          expect_same(results[1], expected_green);
        } else if ((i + k) % 3 == 1) {
          expect_same(predictor(red.view()), expected_red);
        } else {
          expect_same(predictor(green.view()), expected_green);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(PredictorTest, MemoryStaysFlatUnderTwoHundredThreads) {
  const Predictor predictor(bundle(), {.threads = 2, .contexts = 4});
  predictor.warm_up(4);
  const Picture red = red_cell();
  const std::vector<ImageView> views(4, red.view());
  const Result expected = predictor(red.view());
  const auto round = [&](int calls) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 200; ++i) {
      threads.emplace_back([&, i] {
        for (int k = 0; k < calls; ++k) {
          if ((i + k) % 10 == 0) {
            expect_same(predictor.predict(views).back(), expected);
          } else {
            expect_same(predictor(red.view()), expected);
          }
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  };
  round(10);
  [[maybe_unused]] const std::int64_t before = resident_bytes();
  round(50);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these keep freed memory
  constexpr std::int64_t kSlack = std::int64_t{8} << 20;
  EXPECT_LT(resident_bytes() - before, kSlack);
#endif
}

TEST_F(PredictorTest, WarmUp) {
  const Predictor predictor(bundle(), {.contexts = 2});
  predictor.warm_up();
  predictor.warm_up(4);
  expect_error(ErrorCode::invalid_argument, {"batch is 5", "1 to 4"},
               [&] { predictor.warm_up(5); });
  expect_error(ErrorCode::invalid_argument, {"batch is 0"}, [&] { predictor.warm_up(0); });
}

TEST_F(PredictorTest, SurvivesWrongImages) {
  const Predictor predictor(bundle());
  const Picture picture = red_cell();
  ImageView view = picture.view();
  view.data = nullptr;
  expect_error(ErrorCode::invalid_argument, {}, [&] { (void)predictor(view); });
  view = picture.view();
  view.width = 0;
  expect_error(ErrorCode::invalid_argument, {"0"}, [&] { (void)predictor(view); });
  view = picture.view();
  view.stride = 5;
  expect_error(ErrorCode::invalid_argument, {"5"}, [&] { (void)predictor(view); });
  const std::vector<ImageView> batch = {picture.view(), view, picture.view()};
  expect_error(ErrorCode::invalid_argument, {"image 1 of 3", "5"},
               [&] { (void)predictor.predict(batch); });
  EXPECT_EQ(predictor(picture.view()).instances.size(), 1U);
}

TEST_F(PredictorTest, OnePixelAndOnePixelRows) {
  const Predictor predictor(bundle());
  const Picture dot = Picture(1, 1).fill(0, 0, 1, 1, 1);
  const Result result = predictor(dot.view());
  ASSERT_EQ(result.instances.size(), 16U);
  const Picture line = Picture(1, 5000).fill(0, 0, 2500, 1, 0);
  EXPECT_FALSE(predictor(line.view()).instances.empty());
}

TEST_F(PredictorTest, OptionsOutOfRange) {
  expect_error(ErrorCode::invalid_argument, {"threshold", "1.5"},
               [] { Predictor(bundle(), {.threshold = 1.5F}); });
  expect_error(ErrorCode::invalid_argument, {"threshold"},
               [] { Predictor(bundle(), {.threshold = std::nanf("")}); });
  expect_error(ErrorCode::invalid_argument, {"threads", "-1"},
               [] { Predictor(bundle(), {.threads = -1}); });
  expect_error(ErrorCode::invalid_argument, {"contexts", "0"},
               [] { Predictor(bundle(), {.contexts = 0}); });
  expect_error(ErrorCode::unsupported, {"device 'gpu:0'", "openvino"},
               [] { Predictor(bundle(), {.device = "gpu:0"}); });
  expect_error(ErrorCode::unsupported, {"backend 'tensorrt'"},
               [] { Predictor(bundle(), {.backend = "tensorrt"}); });
  expect_error(ErrorCode::unsupported, {"'int3'", "fp32"},
               [] { Predictor(bundle(), {.precision = "int3"}); });
}

TEST_F(PredictorTest, GraphAndManifestDiffer) {
  const testing::TemporaryFolder folder;
  copy_with(folder.path(), "model: tiny", "model: other");
  std::string manifest = testing::read_file(folder.path() / "manifest.yaml");
  const std::size_t last = manifest.rfind("- 16\n");
  ASSERT_NE(last, std::string::npos);
  manifest.replace(last, 5, "- 15\n");
  testing::write_file(folder.path() / "manifest.yaml", manifest);
  expect_error(ErrorCode::bad_bundle,
               {"output 'prototypes'", "[?, 3, 16, 16]", "[batch, 3, 16, 15]"},
               [&] { const Predictor predictor(folder.path()); });
}

TEST_F(PredictorTest, StageIsNoNetwork) {
  const testing::TemporaryFolder folder;
  const fs::path stage = bundle() / "stages" / "model.onnx";
  copy_with(folder.path(), sha256_file(stage), "0");
  testing::write_file(folder.path() / "stages" / "model.onnx", "no network at all");
  std::string manifest = testing::read_file(folder.path() / "manifest.yaml");
  const std::size_t at = manifest.find("sha256: 0");
  ASSERT_NE(at, std::string::npos);
  manifest.replace(at, 9, "sha256: " + sha256_file(folder.path() / "stages" / "model.onnx"));
  testing::write_file(folder.path() / "manifest.yaml", manifest);
  expect_error(ErrorCode::backend, {"openvino cannot load stage 'model'", "model.onnx"},
               [&] { const Predictor predictor(folder.path()); });
}

TEST_F(PredictorTest, CanBeMoved) {
  Predictor first(bundle());
  const Predictor second = std::move(first);
  const Picture picture = red_cell();
  EXPECT_EQ(second(picture.view()).instances.size(), 1U);
}

TEST(Version, LibraryAndHeaderAgree) { EXPECT_STREQ(version(), INSTSEG_VERSION); }

}  // namespace
}  // namespace instseg
