// Results that stay on the GPU of host_gpu.hpp, against those of predict.
#include "instseg/gpu_result.hpp"

#include <array>
#include <thread>

#include "device/device_testing.hpp"
#include "device/gpu_picture.hpp"

namespace instseg {
namespace {

using testing::expect_error;
using testing::Picture;
using testing_device::bundle_of;
using testing_device::CallerStream;
using testing_device::DeviceTest;
using testing_device::equal;
using testing_device::GpuPicture;
using testing_device::on_cpu;
using testing_device::on_gpu;

std::vector<Result> on_host(const std::vector<GpuResult>& results) {
  std::vector<Result> copies;
  for (const GpuResult& result : results) {
    copies.push_back(result.to_host());
  }
  return copies;
}

// What unpack is to give.
std::vector<std::uint8_t> dense(const Result& result) {
  const auto size = static_cast<std::size_t>(result.image_height * result.image_width);
  std::vector<std::uint8_t> all(size * result.instances.size());
  for (std::size_t i = 0; i < result.instances.size(); ++i) {
    result.instances[i].mask.unpack(std::span(all).subspan(i * size, size), result.image_height,
                                    result.image_width);
  }
  return all;
}

class GpuResultTest : public DeviceTest {
 protected:
  [[nodiscard]] std::vector<ImageView> views() const {
    return {pictures_[0].view(), pictures_[1].view(), pictures_[2].view()};
  }
  [[nodiscard]] const Picture& picture(std::size_t i) const { return pictures_[i]; }

  using DeviceTest::read;
  [[nodiscard]] std::vector<std::uint8_t> read(const GpuMasks& masks) const {
    const auto image = static_cast<std::size_t>(masks.height * masks.width);
    return read(masks.data.get(), static_cast<std::size_t>(masks.count) * image);
  }

 private:
  std::vector<Picture> pictures_{Picture(97, 131, 0), Picture(50, 64, 1), Picture(144, 71, 2)};
};

class GpuResultFamilyTest : public GpuResultTest,
                            public ::testing::WithParamInterface<const char*> {
 protected:
  static std::filesystem::path bundle() { return bundle_of(GetParam()); }
};

TEST_P(GpuResultFamilyTest, AreThoseOfPredict) {
  const Predictor predictor(bundle(), on_gpu());
  std::vector<std::vector<GpuResult>> kept;
  std::vector<std::vector<Result>> expected;
  std::size_t instances = 0;
  for (const float threshold : {0.0F, 0.2F, 0.6F}) {
    for (const std::size_t images : {1U, 3U, 2U}) {
      const std::vector<ImageView> all = views();
      const auto batch = std::span(all).first(images);
      expected.push_back(predictor.predict(batch, threshold));
      kept.push_back(predictor.predict_on_gpu(batch, threshold));
      EXPECT_TRUE(equal(on_host(kept.back()), expected.back()));
      instances += kept.back().front().instances().size();
    }
  }
  EXPECT_GT(instances, 5U);
  // The later calls left the earlier results as they were.
  for (std::size_t call = 0; call < kept.size(); ++call) {
    EXPECT_TRUE(equal(on_host(kept[call]), expected[call])) << "call " << call;
  }
}

TEST_P(GpuResultFamilyTest, SayWhatTheyHaveOnTheHost) {
  const Predictor predictor(bundle(), on_gpu());
  const std::vector<Result> expected = predictor.predict(views(), 0.2F);
  const std::vector<GpuResult> results = predictor.predict_on_gpu(views(), 0.2F);
  gpu().reset();
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].image_height(), expected[i].image_height);
    EXPECT_EQ(results[i].image_width(), expected[i].image_width);
    EXPECT_EQ(results[i].device(), 0);
    EXPECT_EQ(results[i].timings().batch, expected[i].timings.batch);
    EXPECT_GT(results[i].timings().total_ms, 0.0);
    ASSERT_EQ(results[i].instances().size(), expected[i].instances.size());
    for (std::size_t k = 0; k < expected[i].instances.size(); ++k) {
      const GpuInstance& found = results[i].instances()[k];
      const Instance& same = expected[i].instances[k];
      EXPECT_EQ(found.class_id, same.class_id);
      EXPECT_EQ(found.score, same.score);
      EXPECT_EQ(found.box, same.box);
      EXPECT_EQ(found.x, same.mask.x());
      EXPECT_EQ(found.y, same.mask.y());
      EXPECT_EQ(found.width, same.mask.width());
      EXPECT_EQ(found.height, same.mask.height());
      const std::vector<std::uint8_t> words =
          read(results[i].words() + found.first_word, same.mask.words().size_bytes());
      EXPECT_EQ(std::memcmp(words.data(), same.mask.words().data(), words.size()), 0);
    }
  }
  EXPECT_EQ(counts().downloads, 0);
  const Timings timings = results[0].to_host().timings;
  EXPECT_EQ(timings.inference_ms, results[0].timings().inference_ms);
  EXPECT_EQ(timings.total_ms, results[0].timings().total_ms);
}

TEST_P(GpuResultFamilyTest, GiveMasksAsBytes) {
  const Predictor predictor(bundle(), on_gpu());
  for (const GpuResult& result : predictor.predict_on_gpu(views(), 0.1F)) {
    const GpuMasks masks = result.masks();
    const Result host = result.to_host();
    EXPECT_EQ(static_cast<std::size_t>(masks.count), host.instances.size());
    EXPECT_EQ(masks.height, host.image_height);
    EXPECT_EQ(masks.width, host.image_width);
    EXPECT_EQ(read(masks), dense(host));
  }
}

TEST_P(GpuResultFamilyTest, MayComeFromImagesOnTheGpu) {
  const Predictor predictor(bundle(), on_gpu());
  const std::vector<ImageView> host = views();
  const GpuPicture a(gpu(), picture(0), 1);
  const GpuPicture c(gpu(), picture(2));
  const std::vector<ImageView> mixed{a.view(), host[1], c.view()};
  EXPECT_TRUE(equal(on_host(predictor.predict_on_gpu(mixed, 0.2F)), predictor.predict(host, 0.2F)));
}

TEST_P(GpuResultFamilyTest, CopyNoMaskAndAllocateNothing) {
  const Predictor predictor(bundle(), on_gpu());
  for (int call = 0; call < 2; ++call) {  // makes the buffers
    (void)predictor.predict(views(), 0.2F);
    (void)predictor.predict_on_gpu(views(), 0.2F);
  }
  gpu().reset();
  (void)predictor.predict(views(), 0.2F);
  const testing_device::Counts host = counts();
  gpu().reset();
  for (int call = 0; call < 3; ++call) {
    (void)predictor.predict_on_gpu(views(), 0.2F);
  }
  EXPECT_EQ(counts().allocations, 0);
  EXPECT_EQ(counts().uploads, 3 * host.uploads);
  EXPECT_EQ(counts().downloads, 3 * host.downloads);
  EXPECT_EQ(counts().waits, 3 * host.waits);
  EXPECT_EQ(counts().follows, 0);
  std::int64_t words = 0;  // at least, of room
  for (const ImageView& view : views()) {
    words += std::int64_t{view.height} * ((view.width + 31) / 32);
  }
  EXPECT_LT(counts().downloaded_bytes / 3 + 4 * words, host.downloaded_bytes);
}

TEST_P(GpuResultFamilyTest, OutliveThePredictor) {
  const std::int64_t before = counts().live;
  std::vector<Result> expected;
  {
    std::vector<GpuResult> results;
    GpuMasks masks;
    {
      const Predictor predictor(bundle(), on_gpu());
      expected = predictor.predict(views(), 0.2F);
      results = predictor.predict_on_gpu(views(), 0.2F);
      masks = results[0].masks();
      // What is not kept goes with the predictor.
      (void)predictor.predict_on_gpu(views(), 0.2F);
    }
    EXPECT_TRUE(equal(on_host(results), expected));
    EXPECT_EQ(read(results[1].masks()), dense(expected[1]));
    EXPECT_EQ(counts().live, before + 3);  // results, masks, and the workspace of unpack_masks
    results.clear();
    EXPECT_EQ(counts().live, before + 1);
    EXPECT_EQ(read(masks), dense(expected[0]));
  }
  EXPECT_EQ(counts().live, before);
}

TEST_P(GpuResultFamilyTest, OfManyThreads) {
  const Predictor predictor(bundle(), on_gpu(2));
  const std::vector<Result> expected = predictor.predict(views(), 0.2F);
  const std::vector<GpuResult> shared = predictor.predict_on_gpu(views(), 0.2F);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      std::vector<std::vector<GpuResult>> kept;
      for (int call = 0; call < 4; ++call) {
        kept.push_back(predictor.predict_on_gpu(views(), 0.2F));
        EXPECT_TRUE(equal(on_host(shared), expected));
        EXPECT_EQ(read(shared[1].masks()), dense(expected[1]));
        if (call == 1) {
          kept.erase(kept.begin());
        }
      }
      for (const std::vector<GpuResult>& results : kept) {
        EXPECT_TRUE(equal(on_host(results), expected));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_P(GpuResultFamilyTest, AfterMemoryWasShort) {
  const Predictor predictor(bundle(), on_gpu());
  const std::vector<Result> expected = predictor.predict(views(), 0.2F);
  const std::vector<GpuResult> kept = predictor.predict_on_gpu(views(), 0.2F);
  ASSERT_FALSE(kept[0].instances().empty());
  gpu().most_bytes = 100;
  // The memory of the call before is still in use.
  expect_error(ErrorCode::out_of_memory, {"cannot allocate", "the GPU's memory"},
               [&] { (void)predictor.predict_on_gpu(views(), 0.2F); });
  expect_error(ErrorCode::out_of_memory, {"cannot allocate", "the GPU's memory"},
               [&] { (void)kept[0].masks(); });
  gpu().most_bytes = SIZE_MAX;
  gpu().failing_op = "unpack_masks";
  expect_error(ErrorCode::backend, {"CUDA op 'unpack_masks' failed"},
               [&] { (void)kept[0].masks(); });
  gpu().failing_op = "preprocess";
  expect_error(ErrorCode::backend, {"CUDA op 'preprocess' failed"},
               [&] { (void)predictor.predict_on_gpu(views(), 0.2F); });
  gpu().failing_op = nullptr;
  EXPECT_TRUE(equal(on_host(predictor.predict_on_gpu(views(), 0.2F)), expected));
  EXPECT_TRUE(equal(predictor.predict(views(), 0.2F), expected));
  EXPECT_TRUE(equal(on_host(kept), expected));
  EXPECT_EQ(read(kept[0].masks()), dense(expected[0]));
}

TEST_P(GpuResultFamilyTest, WithNothingFound) {
  const Predictor predictor(bundle(), on_gpu());
  const std::vector<GpuResult> results = predictor.predict_on_gpu(views(), 1.0F);
  EXPECT_TRUE(equal(on_host(results), predictor.predict(views(), 1.0F)));
  const GpuMasks masks = results[0].masks();
  EXPECT_EQ(masks.data, nullptr);
  EXPECT_EQ(masks.count, 0);
  EXPECT_EQ(masks.height, 97);
  results[0].unpack(nullptr, 0);
  EXPECT_TRUE(predictor.predict_on_gpu({}).empty());
}

INSTANTIATE_TEST_SUITE_P(All, GpuResultFamilyTest, ::testing::ValuesIn(testing_device::kBundles),
                         testing_device::bundle_name);

TEST_F(GpuResultTest, OfMoreImagesThanABatchTakes) {
  const Predictor predictor(bundle_of("ppyoloe_seg"), on_gpu());
  const auto images = static_cast<std::size_t>(predictor.bundle().batch.max) + 1;
  std::vector<ImageView> all;
  for (std::size_t i = 0; i < images; ++i) {
    all.push_back(views()[i % 3]);
  }
  const std::vector<GpuResult> results = predictor.predict_on_gpu(all, 0.2F);
  EXPECT_TRUE(equal(on_host(results), predictor.predict(all, 0.2F)));
}

// More words than there was room for: the ops run again.
TEST_F(GpuResultTest, WithMasksThatNeedMoreRoom) {
  const Predictor predictor(bundle_of("mask_rtdetr"), on_gpu());
  const Picture large(600, 800, 2);
  const std::array images{large.view()};
  const std::vector<GpuResult> first = predictor.predict_on_gpu(images, 0.0F);
  EXPECT_EQ(counts().downloads, 2);
  gpu().reset();
  const std::vector<GpuResult> second = predictor.predict_on_gpu(images, 0.0F);
  EXPECT_EQ(counts().downloads, 1);
  const std::vector<Result> expected = predictor.predict(images, 0.0F);
  EXPECT_TRUE(equal(on_host(first), expected));
  EXPECT_TRUE(equal(on_host(second), expected));
}

// Those that are kept in great number leave little behind.
TEST_F(GpuResultTest, GiveTheirMemoryBack) {
  const Predictor predictor(bundle_of("solov2"), on_gpu());
  const std::vector<Result> expected = predictor.predict(views(), 0.2F);
  const std::int64_t before = counts().live;
  std::vector<std::vector<GpuResult>> kept;
  for (int call = 0; call < 20; ++call) {
    kept.push_back(predictor.predict_on_gpu(views(), 0.2F));
  }
  EXPECT_EQ(counts().live, before + 19);
  for (const std::vector<GpuResult>& results : kept) {
    EXPECT_TRUE(equal(on_host(results), expected));
  }
  kept.clear();
  EXPECT_EQ(counts().live, before + 7);  // 8 instead of the 1 of before
}

class GpuUnpackTest : public GpuResultTest {
 protected:
  void SetUp() override {
    GpuResultTest::SetUp();
    if (!IsSkipped()) {
      predictor_.emplace(bundle_of("ppyoloe_seg"), on_gpu());
      results_ = predictor_->predict_on_gpu(views(), 0.2F);
      expected_ = dense(results_[0].to_host());
      ASSERT_FALSE(expected_.empty());
      memory_.emplace(CudaDevice{load_cuda_ops(), 0}, CudaPlace::device);
      (void)memory_->reserve(expected_.size());
    }
  }
  [[nodiscard]] const Predictor& predictor() const { return *predictor_; }
  std::vector<GpuResult>& results() { return results_; }
  [[nodiscard]] const std::vector<std::uint8_t>& expected() const { return expected_; }
  std::byte* memory() { return memory_->reserve(0); }

 private:
  std::optional<Predictor> predictor_;
  std::vector<GpuResult> results_;
  std::vector<std::uint8_t> expected_;
  std::optional<CudaMemory> memory_;
};

TEST_F(GpuUnpackTest, WaitsWithoutAStream) {
  results()[0].unpack(memory(), expected().size());  // makes the workspace
  gpu().reset();
  results()[0].unpack(memory(), expected().size());
  EXPECT_EQ(read(memory(), expected().size()), expected());
  EXPECT_EQ(counts().waits, 1);
  EXPECT_EQ(counts().allocations, 0);
  EXPECT_EQ(counts().downloads, 0);
}

TEST_F(GpuUnpackTest, IsInTheOrderOfAStream) {
  const CallerStream stream;
  results()[0].unpack(memory(), expected().size());
  // What the caller's stream writes there before.
  const std::vector<std::uint8_t> other(expected().size(), 7);
  gpu().write_later(stream.get(), memory(), other.data(), other.size());
  gpu().reset();
  results()[0].unpack(memory(), expected().size(), stream.get());
  EXPECT_EQ(counts().waits, 0);
  EXPECT_EQ(counts().follows, 2);  // before and after
  EXPECT_EQ(read(memory(), expected().size()), expected());
  // The memory of the masks is used again when that is done, and not waited for a second time.
  results().clear();
  gpu().reset();
  (void)predictor().predict_on_gpu(views(), 0.2F);
  EXPECT_EQ(counts().follows, 1);
  (void)predictor().predict_on_gpu(views(), 0.2F);
  EXPECT_EQ(counts().follows, 1);
}

TEST_F(GpuUnpackTest, RefusesMemoryThatIsNotThere) {
  const GpuResult& result = results()[0];
  const std::size_t bytes = expected().size();
  expect_error(ErrorCode::invalid_argument, {"unpack", "bytes, expected " + std::to_string(bytes)},
               [&] { result.unpack(memory(), bytes - 1); });
  std::vector<std::uint8_t> host(bytes);
  const auto refused = [&](void* out) {
    expect_error(ErrorCode::invalid_argument, {"memory of gpu:0", std::to_string(bytes) + " bytes"},
                 [&] { result.unpack(out, bytes); });
  };
  refused(host.data());
  refused(nullptr);
  refused(memory() + 1);
}

TEST_F(GpuResultTest, NeedOpsOnTheGpu) {
  const Predictor cpu(bundle_of("ppyoloe_seg"), on_cpu());
  expect_error(ErrorCode::unsupported, {"predict_on_gpu", "device is 'cpu'", "use predict"},
               [&] { (void)cpu.predict_on_gpu(views()); });
  const testing::EnvironmentVariable missing("INSTSEG_CUDA_LIBRARY", "/nowhere/libinstseg_cuda.so");
  const Predictor mixed(bundle_of("ppyoloe_seg"), on_gpu());
  expect_error(ErrorCode::unsupported, {"/nowhere/libinstseg_cuda.so", "use predict"},
               [&] { (void)mixed.predict_on_gpu({}); });
}

}  // namespace
}  // namespace instseg
