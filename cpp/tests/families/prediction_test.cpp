// The families on the bundles of tests/family_bundles.py: memory, batches, threads. What they find
// is compared with a reference by the tests in Python.
#include <thread>

#include "instseg/predictor.hpp"
#include "support/picture.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

using testing::Picture;

class FamilyTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(bundle() / "manifest.yaml")) {
      GTEST_SKIP() << "run by ctest, which writes the bundles and sets INSTSEG_TEST_FAMILY_BUNDLES";
    }
  }
  static std::filesystem::path bundle() {
    return std::filesystem::path(testing::environment("INSTSEG_TEST_FAMILY_BUNDLES")) /
           (std::string(GetParam()) + ".bundle");
  }
};

void expect_close(const Result& a, const Result& b) {
  ASSERT_EQ(a.instances.size(), b.instances.size());
  for (std::size_t i = 0; i < a.instances.size(); ++i) {
    EXPECT_EQ(a.instances[i].class_id, b.instances[i].class_id);
    EXPECT_NEAR(a.instances[i].score, b.instances[i].score, 1e-5);
    EXPECT_NEAR(a.instances[i].box.x1, b.instances[i].box.x1, 1e-2);
    EXPECT_NEAR(a.instances[i].box.y2, b.instances[i].box.y2, 1e-2);
    const auto area = static_cast<double>(a.instances[i].mask.area());
    EXPECT_NEAR(area, static_cast<double>(b.instances[i].mask.area()), 0.01 * area + 2);
  }
}

TEST_P(FamilyTest, BatchesOfEverySizeThroughOneContext) {
  const Predictor predictor(bundle(), {.threads = 3});
  const std::vector<Picture> pictures = {Picture(50, 71, 0), Picture(181, 117, 1),
                                         Picture(97, 131, 2), Picture(41, 70, 3),
                                         Picture(60, 45, 4)};
  std::vector<ImageView> views;
  std::vector<Result> alone;
  std::size_t found = 0;
  for (const Picture& picture : pictures) {
    views.push_back(picture.view());
    alone.push_back(std::move(predictor.predict(std::span(&views.back(), 1), 0.2F).front()));
    found += alone.back().instances.size();
  }
  EXPECT_GT(found, 5U);
  // Growing and shrinking batches use the same buffers.
  for (const std::size_t count : {1U, 4U, 2U, 5U, 3U}) {
    const std::vector<Result> together = predictor.predict(std::span(views).first(count), 0.2F);
    for (std::size_t i = 0; i < count; ++i) {
      expect_close(together[i], alone[i]);
    }
  }
}

TEST_P(FamilyTest, ManyThreads) {
  const Predictor predictor(bundle(), {.threads = 2, .contexts = 2});
  const Picture picture(97, 131, 2);
  const ImageView view = picture.view();
  const Result expected = predictor(view);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 4; ++k) {
        expect_close(predictor(view), expected);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_P(FamilyTest, NothingAboveTheHighestThreshold) {
  const Predictor predictor(bundle(), {.threads = 1});
  for (const Picture& picture : {Picture(97, 131, 2), Picture(1, 1, 0), Picture(1, 2000, 1)}) {
    const ImageView view = picture.view();
    EXPECT_TRUE(predictor.predict(std::span(&view, 1), 1.0F).front().instances.empty());
    const std::vector<Result> results = predictor.predict(std::span(&view, 1), 0.0F);
    for (const Instance& instance : results.front().instances) {
      EXPECT_GT(instance.score, 0.0F);
      const Box bounds = instance.mask.bounds();
      EXPECT_LE(bounds.x2, static_cast<float>(picture.width));
      EXPECT_LE(bounds.y2, static_cast<float>(picture.height));
    }
  }
}

TEST_P(FamilyTest, WarmUp) {
  const Predictor predictor(bundle(), {.threads = 1, .contexts = 2});
  predictor.warm_up();
  predictor.warm_up(3);
}

INSTANTIATE_TEST_SUITE_P(All, FamilyTest,
                         ::testing::Values("mask_rtdetr", "solov2", "mask_rcnn", "cascade", "c4"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace instseg
