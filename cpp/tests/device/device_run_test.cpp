// Predictors whose ops run on a GPU, that of host_gpu.hpp, against those that run on the CPU.
#include <thread>

#include "device/device_testing.hpp"
#include "support/picture.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::Picture;
using testing_device::bundle_of;
using testing_device::DeviceTest;
using testing_device::on_cpu;
using testing_device::on_gpu;

// The bundle with another value of a key of `decode`.
class ChangedBundle {
 public:
  ChangedBundle(const fs::path& original, const std::string& key, const std::string& value) {
    fs::copy(original, path(), fs::copy_options::recursive);
    std::string manifest = testing::read_file(path() / "manifest.yaml");
    const std::size_t at = manifest.find(key + ":");
    if (at == std::string::npos) {
      ADD_FAILURE() << "the manifest has no " << key;
      return;
    }
    const std::size_t end = manifest.find('\n', at);
    manifest.replace(at, end - at, key + ": " + value);
    testing::write_file(path() / "manifest.yaml", manifest);
  }
  [[nodiscard]] fs::path path() const { return folder_.path() / "bundle"; }

 private:
  testing::TemporaryFolder folder_;
};

void expect_close(const Box& a, const Box& b) {
  EXPECT_NEAR(a.x1, b.x1, 1e-3);
  EXPECT_NEAR(a.y1, b.y1, 1e-3);
  EXPECT_NEAR(a.x2, b.x2, 1e-3);
  EXPECT_NEAR(a.y2, b.y2, 1e-3);
}

// The same detections; floats as far apart as a network makes them of inputs that differ in the
// last bits, and masks in a pixel here and there.
void expect_same(const Result& found, const Result& expected) {
  EXPECT_EQ(found.image_height, expected.image_height);
  EXPECT_EQ(found.image_width, expected.image_width);
  ASSERT_EQ(found.instances.size(), expected.instances.size());
  for (std::size_t i = 0; i < found.instances.size(); ++i) {
    const Instance& a = found.instances[i];
    const Instance& b = expected.instances[i];
    EXPECT_EQ(a.class_id, b.class_id);
    EXPECT_NEAR(a.score, b.score, 1e-5);
    expect_close(a.box, b.box);
    const auto size =
        static_cast<std::size_t>(found.image_height) * static_cast<std::size_t>(found.image_width);
    std::vector<std::uint8_t> a_pixels(size);
    std::vector<std::uint8_t> b_pixels(size);
    a.mask.unpack(a_pixels, found.image_height, found.image_width);
    b.mask.unpack(b_pixels, found.image_height, found.image_width);
    std::size_t different = 0;
    for (std::size_t pixel = 0; pixel < size; ++pixel) {
      different += a_pixels[pixel] != b_pixels[pixel] ? 1 : 0;
    }
    EXPECT_LE(different, size / 2000) << "of " << size << " pixels, instance " << i;
  }
}

std::size_t count_instances(const std::vector<Result>& results) {
  std::size_t count = 0;
  for (const Result& result : results) {
    count += result.instances.size();
  }
  return count;
}

class DeviceFamilyTest : public DeviceTest, public ::testing::WithParamInterface<const char*> {
 protected:
  DeviceFamilyTest() {
    for (int seed = 0; seed < 3; ++seed) {
      pictures_.emplace_back(50 + 47 * seed, 131 - 30 * seed, seed);
      views_.push_back(pictures_.back().view());
    }
  }
  static fs::path bundle() { return bundle_of(GetParam()); }
  [[nodiscard]] const std::vector<ImageView>& views() const { return views_; }
  [[nodiscard]] std::span<const ImageView> view() const { return std::span(views_).first(1); }

 private:
  std::vector<Picture> pictures_;
  std::vector<ImageView> views_;
};

TEST_P(DeviceFamilyTest, FindsTheSameAsOnTheCpu) {
  const Predictor device(bundle(), on_gpu());
  const Predictor cpu(bundle(), on_cpu());
  EXPECT_EQ(device.ops().device, "gpu:0");
  EXPECT_EQ(device.ops().reason, "");
  EXPECT_EQ(cpu.ops().device, "cpu");
  EXPECT_EQ(cpu.ops().reason, "");
  std::size_t found = 0;
  for (const float threshold : {0.0F, 0.2F, 0.6F}) {
    // Growing and shrinking batches use the same buffers.
    for (const std::size_t images : {1U, 3U, 2U}) {
      SCOPED_TRACE(std::to_string(images) + " images, threshold " + std::to_string(threshold));
      const auto batch = std::span(views()).first(images);
      const std::vector<Result> results = device.predict(batch, threshold);
      const std::vector<Result> expected = cpu.predict(batch, threshold);
      ASSERT_EQ(results.size(), images);
      for (std::size_t i = 0; i < images; ++i) {
        expect_same(results[i], expected[i]);
      }
      found += count_instances(results);
    }
  }
  EXPECT_GT(found, 10U);
}

TEST_P(DeviceFamilyTest, TakesImagesOfEveryFormAndSize) {
  const Predictor device(bundle(), on_gpu());
  const Predictor cpu(bundle(), on_cpu());
  std::vector<std::uint8_t> bytes(std::size_t{70} * 400);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(i / 400 * 3 + i % 400 / 3);
  }
  for (const PixelFormat format : {PixelFormat::bgr8, PixelFormat::rgb8, PixelFormat::gray8,
                                   PixelFormat::bgra8, PixelFormat::rgba8}) {
    // Rows with a gap.
    const ImageView image{bytes.data(), 70, 90, 400, format};
    const ImageView dot{bytes.data(), 1, 1, 4, format};
    const std::vector<Result> results = device.predict(std::array{image, dot}, 0.0F);
    const std::vector<Result> expected = cpu.predict(std::array{image, dot}, 0.0F);
    expect_same(results[0], expected[0]);
    expect_same(results[1], expected[1]);
  }
}

TEST_P(DeviceFamilyTest, OneCopyEachWayPerBatchAndNoAllocation) {
  const Predictor device(bundle(), on_gpu());
  (void)device.predict(views(), 0.2F);  // makes the buffers
  (void)device.predict(views(), 0.2F);
  gpu().reset();
  for (int call = 0; call < 2; ++call) {
    (void)device.predict(views(), 0.2F);
    (void)device.predict(view(), 0.3F);
  }
  EXPECT_EQ(counts().uploads, 4);
  // Heads are run on as many RoIs as there are: their numbers come to the host twice.
  const int downloads = device.bundle().family == "mask_rcnn" ? 12 : 4;
  EXPECT_EQ(counts().downloads, downloads);
  EXPECT_EQ(counts().waits, downloads);
  EXPECT_EQ(counts().allocations, 0);
}

// Room for masks follows what they need: more than was expected costs one more copy, once.
TEST_F(DeviceTest, MasksThatNeedMoreRoom) {
  const Predictor device(bundle_of("mask_rtdetr"), on_gpu());
  const Predictor cpu(bundle_of("mask_rtdetr"), on_cpu());
  const Picture picture(600, 800, 2);
  const ImageView view = picture.view();
  const std::span<const ImageView> views(&view, 1);
  const std::vector<Result> expected = cpu.predict(views, 0.0F);
  std::int64_t words = 0;
  for (const Instance& instance : expected.front().instances) {
    words += std::ssize(instance.mask.words());
  }
  ASSERT_GT(words, 2 * 600 * 800 / 32) << "the masks fit into the room that they have at first";

  expect_same(device.predict(views, 0.0F).front(), expected.front());
  EXPECT_EQ(counts().downloads, 2);
  gpu().reset();
  expect_same(device.predict(views, 0.0F).front(), expected.front());
  EXPECT_EQ(counts().downloads, 1);
  EXPECT_EQ(counts().allocations, 0);
}

TEST_P(DeviceFamilyTest, NothingAboveTheHighestThreshold) {
  const Predictor device(bundle(), on_gpu());
  EXPECT_EQ(count_instances(device.predict(views(), 1.0F)), 0U);
}

TEST_P(DeviceFamilyTest, AsManyAsAreKept) {
  const ChangedBundle changed(bundle(), "keep_top_k", "2");
  const Predictor device(changed.path(), on_gpu());
  const Predictor cpu(changed.path(), on_cpu());
  const std::vector<Result> results = device.predict(views(), 0.0F);
  const std::vector<Result> expected = cpu.predict(views(), 0.0F);
  std::size_t most = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    expect_same(results[i], expected[i]);
    most = std::max(most, results[i].instances.size());
  }
  EXPECT_EQ(most, 2U);
}

TEST_P(DeviceFamilyTest, GivesAllMemoryBack) {
  const std::int64_t before = counts().live;
  {
    const Predictor device(bundle(), on_gpu(2));
    device.warm_up(2);
    (void)device.predict(views());
    EXPECT_GT(counts().live, before);
  }
  EXPECT_EQ(counts().live, before);
}

TEST_P(DeviceFamilyTest, ManyThreads) {
  const Predictor device(bundle(), on_gpu(2));
  const std::vector<Result> expected = device.predict(views(), 0.2F);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 3; ++call) {
        const std::vector<Result> results = device.predict(views(), 0.2F);
        for (std::size_t k = 0; k < results.size(); ++k) {
          expect_same(results[k], expected[k]);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_P(DeviceFamilyTest, GoesOnAfterAnOpFailed) {
  const Predictor device(bundle(), on_gpu());
  const std::vector<Result> expected = device.predict(view(), 0.2F);
  gpu().failing_op = "preprocess";
  testing::expect_error(ErrorCode::backend,
                        {"CUDA op 'preprocess' failed", "illegal memory access"},
                        [&] { (void)device.predict(view(), 0.2F); });
  gpu().failing_op = nullptr;
  expect_same(device.predict(view(), 0.2F).front(), expected.front());
}

TEST_P(DeviceFamilyTest, GoesOnAfterMemoryWasShort) {
  const Predictor device(bundle(), on_gpu());
  gpu().most_bytes = 2000;
  testing::expect_error(ErrorCode::out_of_memory, {"cannot allocate", "too little memory"},
                        [&] { (void)device.predict(view(), 0.2F); });
  gpu().most_bytes = SIZE_MAX;
  const Predictor cpu(bundle(), on_cpu());
  expect_same(device.predict(view(), 0.2F).front(), cpu.predict(view(), 0.2F).front());
}

INSTANTIATE_TEST_SUITE_P(All, DeviceFamilyTest, ::testing::ValuesIn(testing_device::kBundles),
                         testing_device::bundle_name);

TEST_F(DeviceTest, AnErrorNamesTheOpThatFailed) {
  const Predictor device(bundle_of("ppyoloe_seg"), on_gpu());
  const Picture picture(40, 50, 1);
  const ImageView view = picture.view();
  for (const char* const op : {"multiclass_nms", "prototype_masks"}) {
    gpu().failing_op = op;
    testing::expect_error(ErrorCode::backend, {"CUDA op '" + std::string(op) + "' failed"},
                          [&] { (void)device(view); });
  }
  gpu().failing_op = nullptr;
  (void)device(view);
}

// Where the ops run on the CPU although the network is on the GPU: the part of the reason.
void expect_on_cpu(const fs::path& bundle, const std::string& part) {
  const Predictor predictor(bundle, on_gpu());
  EXPECT_EQ(predictor.ops().device, "cpu");
  EXPECT_NE(predictor.ops().reason.find(part), std::string::npos)
      << "'" << part << "' is not in: " << predictor.ops().reason;
  const Predictor cpu(bundle, on_cpu());
  const Picture picture(97, 131, 2);
  const ImageView view = picture.view();
  expect_same(predictor.predict(std::span(&view, 1), 0.2F).front(),
              cpu.predict(std::span(&view, 1), 0.2F).front());
}

TEST_F(DeviceTest, SaysWhyOpsRunOnTheCpu) {
  const testing::EnvironmentVariable missing("INSTSEG_CUDA_LIBRARY", "/nowhere/libinstseg_cuda.so");
  expect_on_cpu(bundle_of("ppyoloe_seg"), "/nowhere/libinstseg_cuda.so");
}

TEST_F(DeviceTest, SaysThatThereIsNoSuchGpu) {
  gpu().gpus = 0;
  expect_on_cpu(bundle_of("ppyoloe_seg"), "gpu:0 is not among them");
}

TEST_F(DeviceTest, SaysThatDetectionsHaveNoBound) {
  const ChangedBundle changed(bundle_of("ppyoloe_seg"), "keep_top_k", "-1");
  expect_on_cpu(changed.path(), "decode.keep_top_k keeps all detections");
}

TEST_F(DeviceTest, SaysThatThereAreTooManyProposals) {
  const ChangedBundle changed(bundle_of("mask_rcnn"), "rpn_post_nms_top_n", "5000");
  expect_on_cpu(changed.path(), "decode.rpn_post_nms_top_n is 5000, on the GPU at most 4096");
}

TEST_F(DeviceTest, SaysThatBatchesAreTooLarge) {
  const ChangedBundle changed(bundle_of("ppyoloe_seg"), "max", "65");
  expect_on_cpu(changed.path(), "batch.max is 65");
}

}  // namespace
}  // namespace instseg
