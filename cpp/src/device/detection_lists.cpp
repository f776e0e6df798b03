#include "device/detection_lists.hpp"

#include <algorithm>

namespace instseg {
namespace {

constexpr std::size_t kAlignment = 256;

}  // namespace

DetectionLayout::DetectionLayout(int images, int capacity) : capacity_(capacity) {
  const auto take = [this](std::int64_t count, std::size_t size) {
    const std::size_t at = bytes_;
    bytes_ += (static_cast<std::size_t>(count) * size + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  };
  const std::int64_t total = std::int64_t{images} * capacity;
  at_.counts = take(images, sizeof(std::int32_t));
  at_.class_ids = take(total, sizeof(std::int32_t));
  at_.indices = take(total, sizeof(std::int32_t));
  at_.scores = take(total, sizeof(float));
  at_.boxes = take(total * 4, sizeof(float));
  at_.crops = take(total * 4, sizeof(std::int32_t));
  at_.offsets = take(total + 1, sizeof(std::int64_t));
}

DetectionLists DetectionLayout::at(std::byte* base, std::span<std::uint32_t> words) const {
  const auto integers = [base](std::size_t at) {
    return reinterpret_cast<std::int32_t*>(base + at);
  };
  const auto floats = [base](std::size_t at) { return reinterpret_cast<float*>(base + at); };
  return {{capacity_, integers(at_.counts), integers(at_.class_ids), integers(at_.indices),
           floats(at_.scores), nullptr, nullptr},
          floats(at_.boxes),
          {integers(at_.crops), reinterpret_cast<std::int64_t*>(base + at_.offsets), words.data(),
           std::ssize(words)}};
}

std::int64_t words_needed(const DetectionLists& lists, int images) {
  return lists.masks.offsets[std::int64_t{images} * lists.list.capacity];
}

std::vector<Instance> read_instances(const DetectionLists& lists, int image) {
  const std::int64_t first = std::int64_t{image} * lists.list.capacity;
  std::vector<Instance> instances(static_cast<std::size_t>(lists.list.counts[image]));
  for (std::size_t i = 0; i < instances.size(); ++i) {
    const std::int64_t entry = first + static_cast<std::int64_t>(i);
    const float* const box = lists.boxes + 4 * entry;
    instances[i] = {lists.list.class_ids[entry],
                    lists.list.scores[entry],
                    {box[0], box[1], box[2], box[3]},
                    {}};
    if (const std::uint32_t* const words = lists.masks.words; words != nullptr) {
      const std::int32_t* const crop = lists.masks.crops + 4 * entry;
      instances[i].mask = {
          crop[0],
          crop[1],
          crop[2],
          crop[3],
          {words + lists.masks.offsets[entry], words + lists.masks.offsets[entry + 1]}};
    }
  }
  return instances;
}

KeptMasks::Image read_places(const DetectionLists& lists, const DetectionLists& on_gpu, int image) {
  const std::int64_t first = std::int64_t{image} * lists.list.capacity;
  KeptMasks::Image kept{on_gpu.masks, {}};
  kept.masks.crops += 4 * first;
  kept.masks.offsets += first;
  for (std::int64_t entry = first; entry < first + lists.list.counts[image]; ++entry) {
    const std::int32_t* const crop = lists.masks.crops + 4 * entry;
    kept.places.push_back({crop[0], crop[1], crop[2], crop[3], lists.masks.offsets[entry]});
  }
  return kept;
}

}  // namespace instseg
