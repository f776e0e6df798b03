#include "device/image_upload.hpp"

#include <algorithm>
#include <cstring>

namespace instseg {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::int64_t kRowsPerTask = 128;

std::int32_t resize_of(const InputSpec& spec) {
  if (spec.normalize_first) {
    return INSTSEG_CUDA_LINEAR;
  }
  return spec.interpolation == InputSpec::Interpolation::linear ? INSTSEG_CUDA_FIXED_LINEAR
                                                                : INSTSEG_CUDA_CUBIC;
}

std::int32_t format_of(PixelFormat format) {
  switch (format) {
    case PixelFormat::bgr8:
      return INSTSEG_CUDA_BGR8;
    case PixelFormat::rgb8:
      return INSTSEG_CUDA_RGB8;
    case PixelFormat::gray8:
      return INSTSEG_CUDA_GRAY8;
    case PixelFormat::bgra8:
      return INSTSEG_CUDA_BGRA8;
    case PixelFormat::rgba8:
      break;
  }
  return INSTSEG_CUDA_RGBA8;
}

bool on_host(const ImageView& image) { return image.memory == PixelMemory::host; }

// The queue waits for what writes the pixels that are on the GPU, once for each stream.
void follow_writers(const CudaQueue& queue, std::span<const ImageView> images) {
  for (std::size_t i = 0; i < images.size(); ++i) {
    void* const stream = on_host(images[i]) ? nullptr : images[i].stream;
    const auto same = [stream](const ImageView& image) {
      return !on_host(image) && image.stream == stream;
    };
    if (stream != nullptr && std::ranges::none_of(images.first(i), same)) {
      queue.follow(stream);
    }
  }
}

}  // namespace

ImageUpload::ImageUpload(const CudaDevice& device, const InputSpec& spec)
    : staging_(device, CudaPlace::pinned_host),
      pixels_(device, CudaPlace::device),
      input_(device, CudaPlace::device) {
  arguments_.resize = resize_of(spec);
  arguments_.rgb = spec.color == InputSpec::Color::rgb ? 1 : 0;
  arguments_.scale = spec.scale;
  std::ranges::copy(spec.mean, arguments_.mean);
  std::ranges::copy(spec.std, arguments_.std);
  arguments_.out_type = INSTSEG_FLOAT32;
}

float* ImageUpload::enqueue(CudaQueue& queue, const DeviceBatch& batch, ThreadPool& pool) {
  if (const std::size_t bytes = place(batch); bytes > 0) {
    upload(queue, batch, bytes, pool);
  }
  follow_writers(queue, batch.images);
  instseg_cuda_preprocess arguments = arguments_;
  arguments.images = images_.data();
  arguments.count = static_cast<std::int32_t>(images_.size());
  arguments.height = batch.input.height;
  arguments.width = batch.input.width;
  auto* const input = reinterpret_cast<float*>(
      input_.reserve(images_.size() * 3 * static_cast<std::size_t>(batch.input.height) *
                     static_cast<std::size_t>(batch.input.width) * sizeof(float)));
  arguments.out = input;
  queue.run("preprocess", &instseg_cuda_ops::preprocess, arguments);
  return input;
}

void ImageUpload::upload(CudaQueue& queue, const DeviceBatch& batch, std::size_t bytes,
                         ThreadPool& pool) {
  std::byte* const staging = staging_.reserve(bytes);
  std::byte* const pixels = pixels_.reserve(bytes);
  for (std::size_t i = 0; i < batch.images.size(); ++i) {
    const ImageView& image = batch.images[i];
    if (!on_host(image)) {
      continue;
    }
    const auto row = static_cast<std::size_t>(images_[i].stride);
    pool.parallel_for(0, image.height, kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t y = begin; y < end; ++y) {
        std::memcpy(staging + offsets_[i] + static_cast<std::size_t>(y) * row,
                    image.data + y * image.stride, row);
      }
    });
    images_[i].pixels = reinterpret_cast<const std::uint8_t*>(pixels + offsets_[i]);
  }
  queue.copy(pixels, staging, bytes);
}

std::size_t ImageUpload::place(const DeviceBatch& batch) {
  images_.clear();
  offsets_.clear();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < batch.images.size(); ++i) {
    const ImageView& image = batch.images[i];
    const std::int64_t row = std::int64_t{image.width} * channels(image.format);
    const bool host = on_host(image);
    images_.push_back({host ? nullptr : image.data, host ? row : image.stride, image.height,
                       image.width, format_of(image.format), batch.resized[i].height,
                       batch.resized[i].width});
    offsets_.push_back(bytes);
    const std::size_t size = static_cast<std::size_t>(row) * static_cast<std::size_t>(image.height);
    bytes += host ? (size + kAlignment - 1) / kAlignment * kAlignment : 0;
  }
  return bytes;
}

}  // namespace instseg
