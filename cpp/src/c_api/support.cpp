#include "c_api/support.hpp"

#include <algorithm>
#include <cstring>

namespace instseg::capi {
namespace {

// Of the first version of this interface; a caller's structs are at least as large.
constexpr std::size_t kImageSize = offsetof(instseg_image, stream);
constexpr std::size_t kInstanceSize = sizeof(instseg_instance);
constexpr std::size_t kTimingsSize = sizeof(instseg_timings);

template <class T>
void copy_out(const T& value, T& out) {
  const std::size_t size = out.struct_size;
  std::memcpy(&out, &value, sizeof(T));
  out.struct_size = size;
}

}  // namespace

std::string& last_error() {
  thread_local std::string text;
  return text;
}

// No allocation here may fail a second time.
instseg_code failed(instseg_code code, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();
  }
  return code;
}

void fail(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

void check_size(std::size_t found, std::size_t expected, const char* name) {
  if (found < expected) {
    fail(std::string(name) + ": struct_size is " + std::to_string(found) + ", expected " +
         std::to_string(expected) + ": set it to sizeof of the struct");
  }
}

std::size_t index_in(std::size_t count, const char* what, std::size_t index,
                     std::optional<std::size_t> image) {
  if (index >= count) {
    fail(std::string(what) + " " + std::to_string(index) + " of " + std::to_string(count) +
         (image ? " of image " + std::to_string(*image) : ""));
  }
  return index;
}

std::vector<instseg::ImageView> read_images(const instseg_image* images, std::size_t count) {
  std::vector<instseg::ImageView> views;
  if (count == 0) {
    return views;
  }
  const std::size_t stride = not_null(images, "images").struct_size;
  check_size(stride, kImageSize, "images");
  const auto* bytes = reinterpret_cast<const unsigned char*>(images);
  for (std::size_t i = 0; i < count; ++i, bytes += stride) {
    instseg_image image{};
    std::memcpy(&image, bytes, std::min(stride, sizeof(image)));
    if (stride < sizeof(image)) {
      image.memory = INSTSEG_HOST_PIXELS;  // what lies there is the padding of the shorter struct
    }
    if (image.struct_size != stride) {
      fail("image " + std::to_string(i) + ": struct_size is " + std::to_string(image.struct_size) +
           ", that of the first is " + std::to_string(stride));
    }
    views.push_back({image.data, image.height, image.width, image.stride,
                     static_cast<instseg::PixelFormat>(image.format),
                     static_cast<instseg::PixelMemory>(image.memory), image.stream});
  }
  return views;
}

std::optional<float> read_threshold(const float* threshold) {
  return threshold == nullptr ? std::nullopt : std::optional<float>(*threshold);
}

void write_instance(const instseg_instance& value, instseg_instance* out) {
  check_size(not_null(out, "instance").struct_size, kInstanceSize, "instance");
  copy_out(value, *out);
}

void write_timings(const Timings& value, instseg_timings* out) {
  check_size(not_null(out, "timings").struct_size, kTimingsSize, "timings");
  copy_out(instseg_timings{0, value.preprocess_ms, value.inference_ms, value.postprocess_ms,
                           value.total_ms, value.batch},
           *out);
}

}  // namespace instseg::capi
