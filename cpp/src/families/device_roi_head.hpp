// A stage that is run on RoIs, on the GPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/session.hpp"
#include "device/cuda_queue.hpp"
#include "ops/roi_align.hpp"

namespace instseg {

// A feature map of a batch, on the GPU: images x channels x height x width.
struct DeviceMap {
  const float* features = nullptr;
  int height = 0;
  int width = 0;
  float stride = 0.0F;  // network input pixels per cell
};

// The RoIs of a batch: on the GPU, but for how many each image has.
struct DeviceRois {
  const float* boxes = nullptr;  // images x capacity x 4, in network pixels
  int capacity = 0;
  std::span<const std::int32_t> counts;  // host, one per image
};

// Where the rows of an output of the head go, one per RoI: images x capacity x row_floats.
struct DeviceRows {
  float* data = nullptr;
  std::size_t row_floats = 0;
};

// The whole numbers from 0, on the GPU: so that a count that the host knows is there as well.
class DeviceNumbers {
 public:
  // Numbers up to `last`. Waits for the queue.
  DeviceNumbers(const CudaDevice& device, CudaQueue& queue, int last);

  [[nodiscard]] const std::int32_t* at(int number) const { return numbers_ + number; }

 private:
  CudaMemory memory_;
  const std::int32_t* numbers_ = nullptr;
};

// One head in a context. Used by one thread at a time; must not outlive the session.
class DeviceRoiHead {
 public:
  DeviceRoiHead(const Session& session, const RoiAlignSpec& spec)
      : spec_(spec), inference_(session.create_context()) {}

  // Puts the head's work on the queue, for all RoIs of the batch. features: memory for those of one
  // run, shared by the heads of a model. rows: one per output, in the manifest's order. numbers: up
  // to rois.capacity.
  void enqueue(CudaQueue& queue, std::span<const DeviceMap> maps, const DeviceRois& rois,
               const DeviceNumbers& numbers, CudaMemory& features,
               std::span<const DeviceRows> rows);

  [[nodiscard]] void* stream() const { return inference_.stream(); }

 private:
  // Consecutive RoIs of one image, and their place in a run of the head.
  struct Piece {
    int image = 0;
    int first = 0;  // of the image
    int count = 0;
    std::size_t at = 0;  // row of the run
  };

  [[nodiscard]] std::size_t roi_floats() const;
  // Fills pieces_ with RoIs [first, first + count), counted through all images.
  void find_pieces(std::span<const std::int32_t> counts, std::size_t first, std::size_t count);
  // spare: rows after the piece that are set to 0.
  void cut(CudaQueue& queue, std::span<const DeviceMap> maps, const DeviceRois& rois,
           const DeviceNumbers& numbers, const Piece& piece, int spare, float* features);

  RoiAlignSpec spec_;
  SessionContext inference_;
  std::vector<Piece> pieces_;
};

}  // namespace instseg
