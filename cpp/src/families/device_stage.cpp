#include "families/device_stage.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "core/stopwatch.hpp"
#include "device/detection_download.hpp"
#include "families/image_stage.hpp"

namespace instseg {
namespace {

// Detections of an image: the ops' workspace has a map for each of them, found or not.
constexpr int kMaxDetections = 1024;

class DeviceStageRun final : public DeviceRun {
 public:
  DeviceStageRun(const Session& session, const DeviceDecoder& decoder, const CudaDevice& device,
                 const InputSpec& input)
      : decoder_(decoder),
        inference_(session.create_context()),
        queue_(device, inference_.stream()),
        upload_(device, input),
        lists_(device) {}

  void run(const DeviceBatch& batch, float threshold, ThreadPool& pool, std::span<Result> results,
           KeptMasks* kept) override {
    queue_.select();
    try {
      const Stopwatch inference;
      const std::array<std::int64_t, 4> shape{static_cast<std::int64_t>(batch.images.size()), 3,
                                              batch.input.height, batch.input.width};
      float* const input = upload_.enqueue(queue_, batch, pool);
      const std::span<const TensorView> outputs =
          inference_.enqueue(std::array{TensorView{input, shape, MemoryKind::device}});
      const int per_call = decoder_.takes_batches() ? static_cast<int>(batch.images.size()) : 1;
      image_sizes_.clear();
      for (const ImageView& image : batch.images) {
        image_sizes_.insert(image_sizes_.end(), {image.height, image.width});
      }
      lists_.run(queue_, batch.images, per_call, decoder_.capacity(), place_for(kept),
                 [&](int first, std::byte*, const DetectionLists& lists) {
                   decoder_.enqueue(
                       queue_, {outputs, first, per_call, batch, image_sizes_, threshold, lists});
                 });
      const double inference_ms = inference.milliseconds();
      const Stopwatch postprocess;
      read(batch, pool, results);
      if (kept != nullptr) {
        *kept = lists_.give_masks();
      }
      set_times(results, inference_ms, postprocess.milliseconds());
    } catch (...) {
      queue_.abandon();  // the buffers are free for the next call
      throw;
    }
  }

 private:
  void read(const DeviceBatch& batch, ThreadPool& pool, std::span<Result> results) const {
    for_each_index(results.size(), pool, [&](std::size_t i) {
      const PixelSize image{batch.images[i].height, batch.images[i].width};
      results[i].instances = lists_.instances(i);
      for (Instance& instance : results[i].instances) {
        instance.box = decoder_.image_box(instance.box, batch.resized[i], image);
      }
    });
  }

  const DeviceDecoder& decoder_;
  SessionContext inference_;
  CudaQueue queue_;
  ImageUpload upload_;
  DetectionDownload lists_;
  std::vector<std::int32_t> image_sizes_;  // height, width
};

}  // namespace

const float* DecodeCall::output(std::size_t index) const {
  const TensorView& view = outputs[index];
  const auto sizes = view.shape.subspan(1);
  const std::int64_t size =
      std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
  return static_cast<const float*>(view.data) + first * size;
}

std::string capacity_obstacle(int keep_top_k) {
  if (keep_top_k >= 0 && keep_top_k <= kMaxDetections) {
    return {};
  }
  return "decode.keep_top_k keeps " +
         (keep_top_k < 0 ? std::string("all") : std::to_string(keep_top_k)) +
         " detections of an image, on the GPU " + std::to_string(kMaxDetections) + " at most";
}

std::unique_ptr<DeviceRun> make_device_stage_run(const Session& session,
                                                 const DeviceDecoder& decoder,
                                                 const CudaDevice& device, const InputSpec& input) {
  return std::make_unique<DeviceStageRun>(session, decoder, device, input);
}

}  // namespace instseg
