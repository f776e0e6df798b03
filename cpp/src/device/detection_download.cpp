#include "device/detection_download.hpp"

#include <utility>

namespace instseg {

std::vector<Instance> DetectionDownload::instances(std::size_t image) const {
  const int index = static_cast<int>(image);
  return read_instances(host_lists(index), index % per_call_);
}

KeptMasks DetectionDownload::give_masks() {
  KeptMasks kept{home_, std::exchange(piece_, nullptr), {}};
  std::byte* const memory = kept.piece->memory.reserve(0);
  for (int image = 0; image < images_; ++image) {
    kept.images.push_back(
        read_places(host_lists(image), lists_at(memory, image), image % per_call_));
  }
  return kept;
}

std::int64_t DetectionDownload::most_words(std::span<const ImageView> images) {
  std::int64_t most = 0;
  for (const ImageView& image : images) {
    most = std::max(most, std::int64_t{image.height} * ((std::int64_t{image.width} + 31) / 32));
  }
  return most;
}

std::size_t DetectionDownload::bytes() const {
  return lists_bytes() + calls() * static_cast<std::size_t>(words_) * sizeof(std::uint32_t);
}

DetectionLists DetectionDownload::lists_at(std::byte* memory, int first) const {
  const auto words = static_cast<std::size_t>(words_);
  auto* const all = reinterpret_cast<std::uint32_t*>(memory + lists_bytes());
  return layout_.at(memory + lists_offset(first),
                    {all + static_cast<std::size_t>(first / per_call_) * words, words});
}

DetectionLists DetectionDownload::host_lists(int first) const {
  return masks_ == MaskPlace::host ? lists_at(found_, first)
                                   : layout_.at(found_ + lists_offset(first), {});
}

std::byte* DetectionDownload::reserve(const CudaQueue& queue) {
  if (!piece_) {
    piece_ = home_->take(queue, bytes());
  }
  return piece_->memory.reserve(bytes());
}

void DetectionDownload::fetch(CudaQueue& queue, const std::byte* memory) {
  const std::size_t wanted = masks_ == MaskPlace::host ? bytes() : lists_bytes();
  found_ = host_.reserve(wanted);
  queue.copy(found_, memory, wanted);
  queue.wait();
}

bool DetectionDownload::fits() {
  std::int64_t needed = 0;
  for (int first = 0; first < images_; first += per_call_) {
    needed = std::max(needed, words_needed(host_lists(first), per_call_));
  }
  room_.seen(per_call_, needed);
  return needed <= words_;
}

}  // namespace instseg
