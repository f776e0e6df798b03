#include "device/detection_download.hpp"

namespace instseg {

std::vector<Instance> DetectionDownload::instances(std::size_t image) const {
  const int index = static_cast<int>(image);
  return read_instances(layout_.at(found_ + offset(index)), index % per_call_);
}

std::int64_t DetectionDownload::most_words(std::span<const ImageView> images) {
  std::int64_t most = 0;
  for (const ImageView& image : images) {
    most = std::max(most, std::int64_t{image.height} * ((std::int64_t{image.width} + 31) / 32));
  }
  return most;
}

void DetectionDownload::fetch(CudaQueue& queue, const std::byte* memory) {
  found_ = host_.reserve(bytes());
  queue.copy(found_, memory, bytes());
  queue.wait();
}

bool DetectionDownload::fits() {
  std::int64_t needed = 0;
  for (int first = 0; first < images_; first += per_call_) {
    needed = std::max(needed, words_needed(layout_.at(found_ + offset(first)), per_call_));
  }
  room_.seen(per_call_, needed);
  return needed <= layout_.words();
}

}  // namespace instseg
