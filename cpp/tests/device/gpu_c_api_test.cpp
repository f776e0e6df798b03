// The C interface to results that stay on the GPU of host_gpu.hpp, against its results on the host.
#include <array>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "device/device_testing.hpp"
#include "device/gpu_picture.hpp"
#include "instseg/c_api.h"

namespace instseg {
namespace {

using testing::Picture;
using testing_device::bundle_of;
using testing_device::CallerStream;
using testing_device::DeviceTest;
using testing_device::GpuPicture;
using testing_device::kGpuBackend;

using PredictorPointer = std::unique_ptr<instseg_predictor, decltype(&instseg_predictor_destroy)>;
using ResultsPointer = std::unique_ptr<instseg_results, decltype(&instseg_results_destroy)>;
using GpuResultsPointer =
    std::unique_ptr<instseg_gpu_results, decltype(&instseg_gpu_results_destroy)>;

constexpr float kThreshold = 0.2F;

instseg_image c_view(const ImageView& image) {
  return {sizeof(instseg_image),
          image.data,
          image.height,
          image.width,
          image.stride,
          static_cast<std::int32_t>(image.format),
          static_cast<std::int32_t>(image.memory),
          image.stream};
}

template <class Results>
instseg_instance instance_of(instseg_code (*get)(const Results*, size_t, size_t, instseg_instance*),
                             const Results* results, std::size_t image, std::size_t index) {
  instseg_instance instance{};
  instance.struct_size = sizeof(instance);
  EXPECT_EQ(get(results, image, index, &instance), INSTSEG_OK) << instseg_last_error();
  return instance;
}

class GpuCApiTest : public DeviceTest {
 protected:
  [[nodiscard]] static PredictorPointer make_predictor() {
    instseg_predictor_options options;
    instseg_predictor_options_init(&options);
    options.device = "gpu:0";
    options.backend = kGpuBackend;
    options.threads = 2;
    instseg_predictor* predictor = nullptr;
    EXPECT_EQ(
        instseg_predictor_create(bundle_of("ppyoloe_seg").string().c_str(), &options, &predictor),
        INSTSEG_OK)
        << instseg_last_error();
    return {predictor, instseg_predictor_destroy};
  }
  [[nodiscard]] std::vector<instseg_image> images() const {
    return {c_view(pictures_[0].view()), c_view(pictures_[1].view())};
  }
  [[nodiscard]] const Picture& picture(std::size_t i) const { return pictures_[i]; }

  [[nodiscard]] static ResultsPointer predict(const instseg_predictor* predictor,
                                              const std::vector<instseg_image>& images) {
    instseg_results* results = nullptr;
    EXPECT_EQ(instseg_predict(predictor, images.data(), images.size(), &kThreshold, &results),
              INSTSEG_OK)
        << instseg_last_error();
    return {results, instseg_results_destroy};
  }
  [[nodiscard]] static GpuResultsPointer predict_on_gpu(const instseg_predictor* predictor,
                                                        const std::vector<instseg_image>& images) {
    instseg_gpu_results* results = nullptr;
    EXPECT_EQ(
        instseg_predict_on_gpu(predictor, images.data(), images.size(), &kThreshold, &results),
        INSTSEG_OK)
        << instseg_last_error();
    return {results, instseg_gpu_results_destroy};
  }
  // Of all instances of an image, one after the other.
  [[nodiscard]] std::vector<std::uint8_t> dense(const instseg_results* results,
                                                std::size_t image) const {
    const ImageView view = pictures_[image].view();
    const auto size = static_cast<std::size_t>(view.height) * static_cast<std::size_t>(view.width);
    std::vector<std::uint8_t> all(size * instseg_results_instances(results, image));
    for (std::size_t i = 0; i < all.size() / size; ++i) {
      EXPECT_EQ(instseg_results_mask(results, image, i, all.data() + i * size, size), INSTSEG_OK);
    }
    return all;
  }

 private:
  std::vector<Picture> pictures_{Picture(97, 131, 0), Picture(50, 64, 1)};
};

TEST_F(GpuCApiTest, TheSameInstancesWithWordsOnTheGpu) {
  const PredictorPointer predictor = make_predictor();
  const ResultsPointer expected = predict(predictor.get(), images());
  const GpuResultsPointer found = predict_on_gpu(predictor.get(), images());
  ASSERT_EQ(instseg_gpu_results_count(found.get()), 2U);
  EXPECT_EQ(instseg_gpu_results_device(found.get()), 0);
  EXPECT_EQ(instseg_gpu_results_instances(found.get(), 2), 0U);
  std::size_t instances = 0;
  for (std::size_t image = 0; image < 2; ++image) {
    const std::size_t count = instseg_results_instances(expected.get(), image);
    ASSERT_EQ(instseg_gpu_results_instances(found.get(), image), count);
    instances += count;
    for (std::size_t i = 0; i < count; ++i) {
      const instseg_instance a = instance_of(instseg_results_instance, expected.get(), image, i);
      const instseg_instance b = instance_of(instseg_gpu_results_instance, found.get(), image, i);
      EXPECT_EQ(b.struct_size, sizeof(b));
      EXPECT_EQ(std::tie(a.class_id, a.score, a.x1, a.y1, a.x2, a.y2),
                std::tie(b.class_id, b.score, b.x1, b.y1, b.x2, b.y2));
      ASSERT_EQ(std::tie(a.mask_x, a.mask_y, a.mask_width, a.mask_height, a.mask_words_per_row),
                std::tie(b.mask_x, b.mask_y, b.mask_width, b.mask_height, b.mask_words_per_row));
      const std::size_t bytes = static_cast<std::size_t>(a.mask_words_per_row) *
                                static_cast<std::size_t>(a.mask_height) * 4;
      ASSERT_EQ(b.mask_words == nullptr, bytes == 0);
      if (bytes > 0) {
        EXPECT_EQ(std::memcmp(read(b.mask_words, bytes).data(), a.mask_words, bytes), 0);
      }
    }
    instseg_timings timings{};
    timings.struct_size = sizeof(timings);
    EXPECT_EQ(instseg_gpu_results_timings(found.get(), image, &timings), INSTSEG_OK);
    EXPECT_EQ(timings.batch, 2);
    EXPECT_GT(timings.total_ms, 0.0);
  }
  EXPECT_GT(instances, 2U);
}

TEST_F(GpuCApiTest, CopiesOutliveThem) {
  PredictorPointer predictor = make_predictor();
  const ResultsPointer expected = predict(predictor.get(), images());
  GpuResultsPointer found = predict_on_gpu(predictor.get(), images());
  predictor.reset();
  instseg_results* raw = nullptr;
  ASSERT_EQ(instseg_gpu_results_to_host(found.get(), &raw), INSTSEG_OK) << instseg_last_error();
  const ResultsPointer copy(raw, instseg_results_destroy);
  found.reset();
  for (std::size_t image = 0; image < 2; ++image) {
    EXPECT_EQ(dense(copy.get(), image), dense(expected.get(), image));
    std::array<std::string, 2> json;
    for (const auto& [results, text] :
         {std::pair{expected.get(), &json[0]}, std::pair{copy.get(), &json[1]}}) {
      std::size_t needed = 0;
      ASSERT_EQ(
          instseg_results_json(results, image, "a.jpg", INSTSEG_MASK_RLE, nullptr, 0, &needed),
          INSTSEG_OK);
      text->resize(needed);
      ASSERT_EQ(instseg_results_json(results, image, "a.jpg", INSTSEG_MASK_RLE, text->data(),
                                     needed, nullptr),
                INSTSEG_OK);
    }
    EXPECT_EQ(json[0], json[1]);
  }
}

TEST_F(GpuCApiTest, MasksAsBytesInMemoryOfTheCaller) {
  const PredictorPointer predictor = make_predictor();
  const GpuPicture first(gpu(), picture(0), 1);  // an image that is on the GPU already
  std::vector<instseg_image> mixed = images();
  mixed[0] = c_view(first.view());
  const ResultsPointer host = predict(predictor.get(), images());
  const std::vector<std::uint8_t> expected = dense(host.get(), 0);
  ASSERT_FALSE(expected.empty());
  CudaMemory memory(CudaDevice{load_cuda_ops(), 0}, CudaPlace::device);
  std::byte* const out = memory.reserve(expected.size());
  const CallerStream stream;
  for (void* const on : {static_cast<void*>(nullptr), stream.get()}) {
    GpuResultsPointer found = predict_on_gpu(predictor.get(), mixed);
    ASSERT_EQ(instseg_gpu_results_masks(found.get(), 0, out, expected.size(), on), INSTSEG_OK)
        << instseg_last_error();
    found.reset();
    EXPECT_EQ(read(out, expected.size()), expected);
  }
}

TEST_F(GpuCApiTest, WhatIsWrongIsTold) {
  const PredictorPointer predictor = make_predictor();
  const GpuResultsPointer found = predict_on_gpu(predictor.get(), images());
  const auto fails = [](instseg_code code, const char* text) {
    EXPECT_EQ(code, INSTSEG_INVALID_ARGUMENT);
    EXPECT_NE(std::string(instseg_last_error()).find(text), std::string::npos)
        << instseg_last_error();
  };
  instseg_instance instance{};
  fails(instseg_gpu_results_instance(found.get(), 0, 0, &instance), "struct_size is 0");
  instance.struct_size = sizeof(instance);
  fails(instseg_gpu_results_instance(found.get(), 2, 0, &instance), "image 2 of 2");
  fails(instseg_gpu_results_instance(found.get(), 0, 9999, &instance), "instance 9999 of");
  fails(instseg_gpu_results_instance(found.get(), 0, 0, nullptr), "instance is null");
  std::uint8_t host = 0;
  fails(instseg_gpu_results_masks(found.get(), 0, &host, 1, nullptr), "bytes, expected");
  instseg_timings timings{};
  fails(instseg_gpu_results_timings(found.get(), 0, &timings), "struct_size is 0");
  fails(instseg_gpu_results_to_host(found.get(), nullptr), "copy is null");
}

}  // namespace
}  // namespace instseg
