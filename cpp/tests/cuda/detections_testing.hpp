// Lists of detections from an op.
#pragma once

#include "cuda/machine.hpp"
#include "instseg/mask.hpp"

namespace instseg::testing_cuda {

struct Found {
  int class_id = 0;
  int index = 0;
  float score = 0.0F;
  Box box;
  Box image_box;
};

inline instseg_cuda_detections make_detections(Machine& machine, int images, int capacity) {
  const std::int64_t total = std::int64_t{images} * capacity;
  return {capacity,
          machine.blank<std::int32_t>(images),
          machine.blank<std::int32_t>(total),
          machine.blank<std::int32_t>(total),
          machine.blank<float>(total),
          machine.blank<float>(total * 4),
          machine.blank<float>(total * 4)};
}

inline Box box_at(const std::vector<float>& values, std::size_t i) {
  return {values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]};
}

// By image.
inline std::vector<std::vector<Found>> read_detections(Machine& machine,
                                                       const instseg_cuda_detections& list,
                                                       int images) {
  const std::int64_t total = std::int64_t{images} * list.capacity;
  const auto counts = machine.download(list.counts, images);
  const auto class_ids = machine.download(list.class_ids, total);
  const auto indices = machine.download(list.indices, total);
  const auto scores = machine.download(list.scores, total);
  const auto boxes = machine.download(list.boxes, total * 4);
  const auto image_boxes = machine.download(list.image_boxes, total * 4);
  std::vector<std::vector<Found>> result(static_cast<std::size_t>(images));
  for (std::size_t image = 0; image < result.size(); ++image) {
    if (counts[image] < 0 || counts[image] > list.capacity) {
      throw std::runtime_error("a count of " + std::to_string(counts[image]));
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(counts[image]); ++i) {
      const std::size_t at = image * static_cast<std::size_t>(list.capacity) + i;
      result[image].push_back(
          {class_ids[at], indices[at], scores[at], box_at(boxes, at), box_at(image_boxes, at)});
    }
  }
  return result;
}

inline bool close(const Box& a, const Box& b) {
  return close(a.x1, b.x1) && close(a.y1, b.y1) && close(a.x2, b.x2) && close(a.y2, b.y2);
}

}  // namespace instseg::testing_cuda
