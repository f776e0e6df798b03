// A family with one stage, on the GPU: pixels to results with one copy each way and one wait.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/cuda_queue.hpp"
#include "device/detection_lists.hpp"
#include "device/image_upload.hpp"
#include "families/family.hpp"

namespace instseg {

// What a decoder turns into detections: images first … first + images - 1 of a batch.
struct DecodeCall {
  std::span<const TensorView> outputs;  // of the stage, of the whole batch, on the GPU
  int first = 0;
  int images = 0;
  const DeviceBatch& batch;
  std::span<const std::int32_t> batch_sizes;  // of the batch's images: height, width
  float threshold = 0.0F;
  DetectionLists out;  // for these images, on the GPU

  // The part of an output that begins with image `first`.
  [[nodiscard]] const float* output(std::size_t index) const;
  // Height and width of each image, as ops take them.
  [[nodiscard]] const std::int32_t* image_sizes() const {
    return batch_sizes.data() + std::ptrdiff_t{2} * first;
  }
};

// From the outputs of a stage to detections and masks. Used by many threads.
class DeviceDecoder {
 public:
  virtual ~DeviceDecoder() = default;

  // Detections of an image, at most.
  [[nodiscard]] virtual int capacity() const = 0;
  // Does `enqueue` take all images of a batch at once, or one?
  [[nodiscard]] virtual bool takes_batches() const { return true; }
  // Puts the ops on the queue.
  virtual void enqueue(CudaQueue& queue, const DecodeCall& call) const = 0;
  // The box in pixels of the original image, from what the ops wrote into DetectionLists::boxes.
  [[nodiscard]] virtual Box image_box(const Box& box, PixelSize /*resized*/,
                                      PixelSize /*image*/) const {
    return box;
  }
};

// Why an image's detections have no bound that suits a GPU, for DeviceDecoder::capacity; empty
// where they have. keep_top_k: of the manifest.
std::string capacity_obstacle(int keep_top_k);

// `session` and `decoder` outlive the run.
std::unique_ptr<DeviceRun> make_device_stage_run(const Session& session,
                                                 const DeviceDecoder& decoder,
                                                 const CudaDevice& device, const InputSpec& input);

}  // namespace instseg
