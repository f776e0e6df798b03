// Images as callers hand them in: a view, never a copy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "instseg/export.hpp"

namespace instseg {

// Interleaved 8-bit channels, in the order of the name.
enum class PixelFormat { bgr8, rgb8, gray8, bgra8, rgba8 };

// Bytes per pixel. Throws Error(invalid_argument) for a value outside the enumeration.
INSTSEG_API int channels(PixelFormat format);

// What the library accepts, for images and for the masks in them.
inline constexpr int kMaxImageSide = 1 << 20;
inline constexpr std::int64_t kMaxImagePixels = std::int64_t{1} << 28;

// Where pixels lie. gpu: in memory of a GPU, or managed memory.
enum class PixelMemory { host, gpu };

// Rows from top to bottom; pixel (x, y) starts at data + y * stride + x * channels(format) and
// covers [x, x + 1) x [y, y + 1), its centre at (x + 0.5, y + 0.5). The pixels must outlive the
// view.
//
// Pixels on a GPU are read where they are, by a predictor on that GPU (Predictor::ops).
struct ImageView {
  const std::uint8_t* data = nullptr;
  int height = 0;
  int width = 0;
  std::ptrdiff_t stride = 0;  // bytes per row, at least width * channels(format)
  PixelFormat format = PixelFormat::bgr8;
  PixelMemory memory = PixelMemory::host;
  // Of pixels on a GPU: the CUDA stream (a cudaStream_t of that GPU) with the work that writes
  // them. They are read when what is on it by then is done; the calling thread does not wait for
  // that. Null: they are there already. The default streams are cudaStreamLegacy and
  // cudaStreamPerThread, not null.
  void* stream = nullptr;
};

}  // namespace instseg
