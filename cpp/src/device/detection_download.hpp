// The detections of a batch on their way from a GPU to the host, with or without their masks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "device/cuda_queue.hpp"
#include "device/detection_lists.hpp"
#include "device/kept_masks.hpp"
#include "instseg/image.hpp"

namespace instseg {

// How much room masks get. It follows what they needed, so that one copy brings them all, and not
// much more than them.
class MaskRoom {
 public:
  // In words, for `images` images, the largest of which takes `image_words` words as a whole.
  [[nodiscard]] std::int64_t words(int images, std::int64_t image_words) const {
    return images * std::max(2 * image_words, per_image_);
  }
  // As many or a few more, so that what lies behind them is aligned to 256 bytes.
  static std::int64_t whole_blocks(std::int64_t words) { return (words + 63) / 64 * 64; }
  void seen(int images, std::int64_t needed) {
    const std::int64_t rounded = (needed + images - 1) / images;
    per_image_ = std::max(rounded + rounded / 2, per_image_ - per_image_ / 16);
  }

 private:
  std::int64_t per_image_ = 0;
};

// Where the masks of a batch are wanted.
enum class MaskPlace { host, gpu };
// kept: of DeviceRun::run.
inline MaskPlace place_for(const KeptMasks* kept) {
  return kept == nullptr ? MaskPlace::host : MaskPlace::gpu;
}

// Memory on both sides, which grows to the largest batch seen.
class DetectionDownload {
 public:
  explicit DetectionDownload(const CudaDevice& device)
      : home_(std::make_shared<ResultMemory>(device)), host_(device, CudaPlace::pinned_host) {}
  ~DetectionDownload() { home_->close(); }
  DetectionDownload(const DetectionDownload&) = delete;
  DetectionDownload& operator=(const DetectionDownload&) = delete;

  // fill(first, memory, lists): puts the ops on the queue that write `lists`, on the GPU, for
  // images first … first + per_call - 1; but for the words they lie in `memory`, as a
  // DetectionLayout says. Called for all images, and for all of them again where the masks had too
  // little room. Then copies, once for all of them, what is wanted on the host, and waits.
  // capacity: detections of an image, at most.
  template <class Fill>
  void run(CudaQueue& queue, std::span<const ImageView> images, int per_call, int capacity,
           MaskPlace masks, Fill&& fill) {
    images_ = static_cast<int>(images.size());
    per_call_ = per_call;
    masks_ = masks;
    layout_ = DetectionLayout(per_call, capacity);
    do {
      words_ = MaskRoom::whole_blocks(room_.words(per_call, most_words(images)));
      std::byte* const memory = reserve(queue);
      for (int first = 0; first < images_; first += per_call) {
        fill(first, memory + lists_offset(first), lists_at(memory, first));
      }
      fetch(queue, memory);
    } while (!fits());
  }

  // Of the last run; without masks where those are wanted on the GPU.
  [[nodiscard]] std::vector<Instance> instances(std::size_t image) const;

  // The masks of the last run, on the GPU. Their memory is no longer that of this object.
  KeptMasks give_masks();

 private:
  static std::int64_t most_words(std::span<const ImageView> images);
  [[nodiscard]] std::size_t calls() const { return static_cast<std::size_t>(images_ / per_call_); }
  // Memory has all lists, then all words.
  [[nodiscard]] std::size_t lists_offset(int first) const {
    return layout_.bytes() * static_cast<std::size_t>(first / per_call_);
  }
  [[nodiscard]] std::size_t lists_bytes() const { return lists_offset(images_); }
  [[nodiscard]] std::size_t bytes() const;
  // Of images first … on the GPU, or in the host's copy.
  [[nodiscard]] DetectionLists lists_at(std::byte* memory, int first) const;
  [[nodiscard]] DetectionLists host_lists(int first) const;
  std::byte* reserve(const CudaQueue& queue);
  void fetch(CudaQueue& queue, const std::byte* memory);
  // Were there enough words? Remembers how many are needed.
  bool fits();

  std::shared_ptr<ResultMemory> home_;
  std::shared_ptr<ResultPiece> piece_;
  CudaMemory host_;
  MaskRoom room_;
  int images_ = 0;
  int per_call_ = 1;
  MaskPlace masks_ = MaskPlace::host;
  DetectionLayout layout_{0, 0};
  std::int64_t words_ = 0;      // room of a call
  std::byte* found_ = nullptr;  // on the host
};

}  // namespace instseg
