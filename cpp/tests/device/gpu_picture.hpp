// Images in the memory of the GPU of host_gpu.hpp, streams of a caller, and results to compare.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "device/cuda_queue.hpp"
#include "device/host_gpu.hpp"
#include "instseg/result.hpp"
#include "support/picture.hpp"
#include "support/testing.hpp"

namespace instseg::testing_device {

using testing::Picture;

// A picture's pixels in memory of a GPU, rows `gap` bytes apart. With a stream they are there when
// that has been waited for.
class GpuPicture {
 public:
  GpuPicture(const HostGpu& gpu, const Picture& picture, int gap = 0, void* stream = nullptr,
             int device = 0)
      : gpu_{load_cuda_ops(), device}, memory_(gpu_, CudaPlace::device) {
    const auto row = std::size_t{3} * static_cast<std::size_t>(picture.width);
    const std::size_t stride = row + static_cast<std::size_t>(gap);
    std::vector<std::uint8_t> rows(stride * static_cast<std::size_t>(picture.height), 77);
    for (std::size_t y = 0; y < static_cast<std::size_t>(picture.height); ++y) {
      std::memcpy(rows.data() + y * stride, picture.pixels.data() + y * row, row);
    }
    gpu_.select();
    std::byte* const data = memory_.reserve(rows.size());
    if (stream != nullptr) {
      gpu.write_later(stream, data, rows.data(), rows.size());
    } else {
      gpu.enter();
      std::memcpy(data, rows.data(), rows.size());
      gpu.leave();
    }
    view_ = picture.view();
    view_.data = reinterpret_cast<const std::uint8_t*>(data);
    view_.stride = static_cast<std::ptrdiff_t>(stride);
    view_.memory = PixelMemory::gpu;
    view_.stream = stream;
  }
  [[nodiscard]] const ImageView& view() const { return view_; }

 private:
  CudaDevice gpu_;
  CudaMemory memory_;
  ImageView view_;
};

// A stream of the caller's, who has selected GPU 0.
class CallerStream {
 public:
  [[nodiscard]] void* get() const { return stream_.get(); }

 private:
  static CudaDevice selected() {
    CudaDevice gpu{load_cuda_ops(), 0};
    gpu.select();
    return gpu;
  }
  CudaStream stream_{selected()};
};

// Bit for bit.
inline ::testing::AssertionResult equal(const std::vector<Result>& found,
                                        const std::vector<Result>& expected) {
  if (found.size() != expected.size()) {
    return ::testing::AssertionFailure() << found.size() << " results";
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::vector<Instance>& a = found[i].instances;
    const std::vector<Instance>& b = expected[i].instances;
    const auto same = [](const Instance& x, const Instance& y) {
      return x.class_id == y.class_id && x.score == y.score && x.box == y.box && x.mask == y.mask;
    };
    if (!std::ranges::equal(a, b, same) || found[i].image_width != expected[i].image_width ||
        found[i].image_height != expected[i].image_height) {
      return ::testing::AssertionFailure()
             << "image " << i << ": " << a.size() << " and " << b.size() << " instances";
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace instseg::testing_device
