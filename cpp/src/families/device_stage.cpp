#include "families/device_stage.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "core/stopwatch.hpp"
#include "families/image_stage.hpp"

namespace instseg {
namespace {

// Detections of an image: the ops' workspace has a map for each of them, found or not.
constexpr int kMaxDetections = 1024;

// How much room masks get. It follows what they needed, so that one copy brings them all, and not
// much more than them.
class WordEstimate {
 public:
  // For `images` images, the largest of which takes `image_words` words as a whole.
  [[nodiscard]] std::int64_t room(int images, std::int64_t image_words) const {
    return images * std::max(2 * image_words, per_image_);
  }
  void seen(int images, std::int64_t needed) {
    const std::int64_t rounded = (needed + images - 1) / images;
    per_image_ = std::max(rounded + rounded / 2, per_image_ - per_image_ / 16);
  }

 private:
  std::int64_t per_image_ = 0;
};

std::int64_t mask_words(const ImageView& image) {
  return std::int64_t{image.height} * ((std::int64_t{image.width} + 31) / 32);
}

class DeviceStageRun final : public DeviceRun {
 public:
  DeviceStageRun(const Session& session, const DeviceDecoder& decoder, const CudaDevice& device,
                 const InputSpec& input)
      : decoder_(decoder),
        inference_(session.create_context()),
        queue_(device, inference_.stream()),
        upload_(device, input),
        device_lists_(device, CudaPlace::device),
        host_lists_(device, CudaPlace::pinned_host) {}

  void run(const DeviceBatch& batch, float threshold, ThreadPool& pool,
           std::span<Result> results) override {
    queue_.select();
    try {
      const Stopwatch inference;
      const std::array<std::int64_t, 4> shape{static_cast<std::int64_t>(batch.images.size()), 3,
                                              batch.input.height, batch.input.width};
      float* const input = upload_.enqueue(queue_, batch, pool);
      const std::span<const TensorView> outputs =
          inference_.enqueue(std::array{TensorView{input, shape, MemoryKind::device}});
      const DetectionLayout layout = find(batch, outputs, threshold);
      const double inference_ms = inference.milliseconds();
      const Stopwatch postprocess;
      read(batch, layout, pool, results);
      set_times(results, inference_ms, postprocess.milliseconds());
    } catch (...) {
      queue_.abandon();  // the buffers are free for the next call
      throw;
    }
  }

 private:
  [[nodiscard]] int images_per_call(const DeviceBatch& batch) const {
    return decoder_.takes_batches() ? static_cast<int>(batch.images.size()) : 1;
  }

  // Runs the decoder on all images, and again where the masks had too little room. Returns the
  // layout of each call's part of host_lists_.
  DetectionLayout find(const DeviceBatch& batch, std::span<const TensorView> outputs,
                       float threshold) {
    const int images = static_cast<int>(batch.images.size());
    const int per_call = images_per_call(batch);
    std::int64_t image_words = 0;
    image_sizes_.clear();
    for (const ImageView& image : batch.images) {
      image_words = std::max(image_words, mask_words(image));
      image_sizes_.insert(image_sizes_.end(), {image.height, image.width});
    }
    std::int64_t words = estimate_.room(per_call, image_words);
    while (true) {
      const DetectionLayout layout(per_call, decoder_.capacity(), words);
      const std::size_t bytes = layout.bytes() * static_cast<std::size_t>(images / per_call);
      std::byte* const host = host_lists_.reserve(bytes);
      std::byte* const device = device_lists_.reserve(bytes);
      for (int first = 0; first < images; first += per_call) {
        decode(batch, outputs, threshold, first, layout.at(device + offset(layout, first)));
      }
      queue_.copy(host, device, bytes);
      queue_.wait();
      std::int64_t needed = 0;
      for (int first = 0; first < images; first += per_call) {
        needed = std::max(needed, words_needed(layout.at(host + offset(layout, first)), per_call));
      }
      estimate_.seen(per_call, needed);
      if (needed <= words) {
        return layout;
      }
      words = estimate_.room(per_call, image_words);
    }
  }

  [[nodiscard]] std::size_t offset(const DetectionLayout& layout, int first) const {
    return decoder_.takes_batches() ? 0 : layout.bytes() * static_cast<std::size_t>(first);
  }

  void decode(const DeviceBatch& batch, std::span<const TensorView> outputs, float threshold,
              int first, const DetectionLists& out) {
    const int images = images_per_call(batch);
    const auto at = static_cast<std::size_t>(first);
    const auto count = static_cast<std::size_t>(images);
    DecodeCall call;
    call.outputs = outputs;
    call.first = first;
    call.images = images;
    call.resized = batch.resized.subspan(at, count);
    call.input = batch.input;
    call.image_sizes = std::span(image_sizes_).subspan(2 * at, 2 * count);
    call.threshold = threshold;
    call.out = out;
    decoder_.enqueue(queue_, call);
  }

  void read(const DeviceBatch& batch, const DetectionLayout& layout, ThreadPool& pool,
            std::span<Result> results) {
    const int per_call = images_per_call(batch);
    std::byte* const host = host_lists_.reserve(0);
    for_each_index(results.size(), pool, [&](std::size_t i) {
      const int image = static_cast<int>(i);
      const int first = image / per_call * per_call;
      results[i].instances = read_instances(layout.at(host + offset(layout, first)), image - first);
      for (Instance& instance : results[i].instances) {
        const ImageView& view = batch.images[i];
        instance.box =
            decoder_.image_box(instance.box, batch.resized[i], {view.height, view.width});
      }
    });
  }

  const DeviceDecoder& decoder_;
  SessionContext inference_;
  CudaQueue queue_;
  ImageUpload upload_;
  CudaMemory device_lists_;
  CudaMemory host_lists_;
  WordEstimate estimate_;
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
