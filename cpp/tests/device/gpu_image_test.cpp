// Images whose pixels are on the GPU of host_gpu.hpp, against the same images on the host.
#include <cstddef>

#include "device/device_testing.hpp"
#include "device/gpu_picture.hpp"
#include "instseg/c_api.h"

namespace instseg {
namespace {

using testing::expect_error;
using testing::Picture;
using testing_device::bundle_of;
using testing_device::CallerStream;
using testing_device::DeviceTest;
using testing_device::equal;
using testing_device::GpuPicture;
using testing_device::kLegacyStream;
using testing_device::on_cpu;
using testing_device::on_gpu;

class GpuImageTest : public DeviceTest {
 protected:
  [[nodiscard]] std::vector<ImageView> on_host() const {
    return {pictures_[0].view(), pictures_[1].view(), pictures_[2].view()};
  }
  [[nodiscard]] const Picture& picture(std::size_t i) const { return pictures_[i]; }

 private:
  std::vector<Picture> pictures_{Picture(97, 131, 0), Picture(50, 64, 1), Picture(144, 71, 2)};
};

class GpuImageFamilyTest : public GpuImageTest,
                           public ::testing::WithParamInterface<const char*> {};

TEST_P(GpuImageFamilyTest, GivesWhatTheSamePixelsOnTheHostGive) {
  const Predictor predictor(bundle_of(GetParam()), on_gpu());
  (void)predictor.predict(on_host(), 0.2F);  // makes the buffers
  const std::vector<Result> expected = predictor.predict(on_host(), 0.2F);
  ASSERT_GT(expected[0].instances.size(), 0U);
  // Rows of every alignment.
  const GpuPicture a(gpu(), picture(0));
  const GpuPicture b(gpu(), picture(1), 64);
  const GpuPicture c(gpu(), picture(2), 5);
  const std::array images{a.view(), b.view(), c.view()};
  gpu().reset();
  EXPECT_TRUE(equal(predictor.predict(images, 0.2F), expected));
  EXPECT_EQ(counts().uploads, 0);
  EXPECT_EQ(counts().follows, 0);
  EXPECT_EQ(counts().allocations, 0);
}

TEST_P(GpuImageFamilyTest, MayShareABatchWithImagesOfTheHost) {
  const Predictor predictor(bundle_of(GetParam()), on_gpu());
  const std::vector<ImageView> host = on_host();
  const std::vector<Result> expected = predictor.predict(host, 0.2F);
  const GpuPicture a(gpu(), picture(0), 1);
  const GpuPicture b(gpu(), picture(1), 31);
  const GpuPicture c(gpu(), picture(2));
  gpu().reset();
  EXPECT_TRUE(equal(predictor.predict(std::array{a.view(), host[1], c.view()}, 0.2F), expected));
  EXPECT_TRUE(equal(predictor.predict(std::array{host[0], b.view(), host[2]}, 0.2F), expected));
  EXPECT_EQ(counts().uploads, 2);
}

TEST_P(GpuImageFamilyTest, WaitsForTheStreamThatWritesThem) {
  const Predictor predictor(bundle_of(GetParam()), on_gpu());
  const std::vector<Result> expected = predictor.predict(on_host(), 0.2F);
  const CallerStream stream;
  for (void* const writer : {stream.get(), kLegacyStream}) {
    const GpuPicture a(gpu(), picture(0), 0, writer);
    const GpuPicture b(gpu(), picture(1), 0, writer);
    const GpuPicture c(gpu(), picture(2), 0, stream.get());
    const std::array images{a.view(), b.view(), c.view()};
    // Without the stream they are read before they are written.
    std::array early = images;
    early[0].stream = nullptr;
    early[1].stream = nullptr;
    early[2].stream = nullptr;
    EXPECT_FALSE(equal(predictor.predict(early, 0.2F), expected));
    gpu().reset();
    EXPECT_TRUE(equal(predictor.predict(images, 0.2F), expected));
    EXPECT_EQ(counts().follows, writer == kLegacyStream ? 2 : 1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuImageFamilyTest, ::testing::ValuesIn(testing_device::kBundles),
                         testing_device::bundle_name);

TEST_F(GpuImageTest, OfEveryFormat) {
  const Predictor predictor(bundle_of("ppyoloe_seg"), on_gpu());
  const Picture wide(40, 320, 1);
  const GpuPicture copy(gpu(), wide);
  for (const PixelFormat format : {PixelFormat::bgr8, PixelFormat::rgb8, PixelFormat::gray8,
                                   PixelFormat::bgra8, PixelFormat::rgba8}) {
    ImageView host = wide.view();
    host.width = 240;
    host.format = format;
    ImageView on_device = copy.view();
    on_device.width = 240;
    on_device.format = format;
    EXPECT_TRUE(equal(predictor.predict(std::array{on_device}, 0.0F),
                      predictor.predict(std::array{host}, 0.0F)));
  }
}

TEST_F(GpuImageTest, OnAnotherGpuAreRefused) {
  const Predictor predictor(bundle_of("ppyoloe_seg"), on_gpu());
  gpu().gpus = 2;
  const GpuPicture elsewhere(gpu(), picture(0), 0, nullptr, 1);
  const std::array images{on_host()[1], elsewhere.view()};
  expect_error(ErrorCode::invalid_argument,
               {"image 1 of 2", "on gpu:1", "predictor is on gpu:0", "copy"},
               [&] { (void)predictor.predict(images); });
}

TEST_F(GpuImageTest, ThatAreNoneAreRefused) {
  const Predictor predictor(bundle_of("ppyoloe_seg"), on_gpu());
  const auto refused = [&](const ImageView& image, const std::string& part) {
    expect_error(ErrorCode::invalid_argument, {"image 1 of 2", part},
                 [&] { (void)predictor.predict(std::array{on_host()[0], image}); });
  };
  ImageView wrong = on_host()[1];
  wrong.memory = PixelMemory::gpu;
  refused(wrong, "memory of the host");

  ImageView freed;
  {
    const GpuPicture gone(gpu(), picture(0));
    freed = gone.view();
  }
  refused(freed, "freed memory");

  const GpuPicture good(gpu(), picture(0));
  wrong = good.view();
  wrong.height = 1 << 20;
  refused(wrong, "leave the memory of gpu:0");
  wrong = good.view();
  wrong.stride = PTRDIFF_MAX;
  refused(wrong, "the stride is 9223372036854775807");
  wrong.stride = std::ptrdiff_t{1} << 40;
  refused(wrong, "leave the memory of gpu:0");
  wrong = good.view();
  wrong.stride = -wrong.stride;
  refused(wrong, "the stride is -393");
  wrong = good.view();
  wrong.data = nullptr;
  refused(wrong, "null pointer");
  wrong = good.view();
  wrong.memory = static_cast<PixelMemory>(2);
  refused(wrong, "memory is 2");
}

TEST_F(GpuImageTest, NeedAPredictorWithOpsOnTheGpu) {
  const GpuPicture good(gpu(), picture(0));
  const std::array images{on_host()[0], good.view()};
  const Predictor cpu(bundle_of("ppyoloe_seg"), on_cpu());
  expect_error(ErrorCode::unsupported,
               {"image 1 of 2", "on a GPU", "device is 'cpu'", "copy them to the host"},
               [&] { (void)cpu.predict(images); });
  const testing::EnvironmentVariable missing("INSTSEG_CUDA_LIBRARY", "/nowhere/libinstseg_cuda.so");
  const Predictor mixed(bundle_of("ppyoloe_seg"), on_gpu());
  expect_error(ErrorCode::unsupported, {"image 1 of 2", "/nowhere/libinstseg_cuda.so", "copy"},
               [&] { (void)mixed.predict(images); });
}

class CApiGpuImageTest : public GpuImageTest {
 protected:
  void SetUp() override {
    GpuImageTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    instseg_predictor_options options;
    instseg_predictor_options_init(&options);
    options.device = "gpu:0";
    options.backend = testing_device::kGpuBackend;
    ASSERT_EQ(instseg_predictor_create(bundle_of("ppyoloe_seg").c_str(), &options, &predictor_),
              INSTSEG_OK)
        << instseg_last_error();
  }
  void TearDown() override {
    instseg_predictor_destroy(predictor_);
    GpuImageTest::TearDown();
  }
  // The scores of the first image.
  [[nodiscard]] std::vector<float> scores(const instseg_image& image) const {
    instseg_results* results = nullptr;
    EXPECT_EQ(instseg_predict(predictor_, &image, 1, nullptr, &results), INSTSEG_OK)
        << instseg_last_error();
    std::vector<float> found;
    for (std::size_t i = 0; i < instseg_results_instances(results, 0); ++i) {
      instseg_instance instance{};
      instance.struct_size = sizeof instance;
      EXPECT_EQ(instseg_results_instance(results, 0, i, &instance), INSTSEG_OK);
      found.push_back(instance.score);
    }
    instseg_results_destroy(results);
    return found;
  }
  [[nodiscard]] const instseg_predictor* predictor() const { return predictor_; }

 private:
  instseg_predictor* predictor_ = nullptr;
};

TEST_F(CApiGpuImageTest, TakesThem) {
  EXPECT_STREQ(instseg_predictor_ops_device(predictor()), "gpu:0");
  EXPECT_STREQ(instseg_predictor_ops_reason(predictor()), "");
  const Picture& shown = picture(0);
  instseg_image image{};
  image.struct_size = sizeof image;
  image.data = shown.pixels.data();
  image.height = shown.height;
  image.width = shown.width;
  image.stride = std::ptrdiff_t{3} * shown.width;
  image.format = INSTSEG_BGR8;
  const std::vector<float> expected = scores(image);
  ASSERT_FALSE(expected.empty());

  // A program that knows the struct as it was: what lies after `format` is padding.
  instseg_image old = image;
  old.struct_size = offsetof(instseg_image, stream);
  old.memory = INSTSEG_GPU_PIXELS;
  EXPECT_EQ(scores(old), expected);

  const CallerStream stream;
  const GpuPicture copy(gpu(), shown, 0, stream.get());
  image.data = copy.view().data;
  image.memory = INSTSEG_GPU_PIXELS;
  image.stream = stream.get();
  EXPECT_EQ(scores(image), expected);

  image.memory = 7;
  instseg_results* results = nullptr;
  EXPECT_EQ(instseg_predict(predictor(), &image, 1, nullptr, &results), INSTSEG_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace instseg
