#include "device/gpu_image.hpp"

#include <cstdint>
#include <string>

#include "instseg/error.hpp"

namespace instseg {

void check_gpu_image(const CudaDevice& device, const ImageView& image) {
  device.select();
  const std::string here = "gpu:" + std::to_string(device.index);
  if (const int found = device.owner_of(image.data); found != device.index) {
    throw Error(ErrorCode::invalid_argument,
                found < 0 ? "the pixels are said to be on a GPU, but their address is no memory of "
                            "one: freed memory, or memory of the host"
                          : "the pixels are on gpu:" + std::to_string(found) +
                                ", the predictor is on " + here + ": copy them there first");
  }
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(image.height - 1) * static_cast<std::uint64_t>(image.stride) +
      static_cast<std::uint64_t>(image.width) * static_cast<std::uint64_t>(channels(image.format));
  // May wrap around; it is asked about, and not read.
  const auto last = reinterpret_cast<std::uintptr_t>(image.data) + bytes - 1;
  if (device.owner_of(reinterpret_cast<const void*>(last)) != device.index) {
    throw Error(ErrorCode::invalid_argument,
                "the pixels leave the memory of " + here + ": " + std::to_string(bytes) +
                    " bytes from their address, expected that many of the GPU");
  }
}

}  // namespace instseg
