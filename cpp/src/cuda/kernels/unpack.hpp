// Packed masks to bytes of whole images.
#pragma once

#include <cstdint>

#include "cuda/execution/block.hpp"
#include "cuda/ops_api.h"

namespace instseg::cuda {

// 16 pixels; one store.
struct alignas(16) PixelChunk {
  static constexpr int kPixels = 16;
  std::uint32_t words[4];
};

// Byte k of the result is bit k of the four.
INSTSEG_HOST_DEVICE constexpr std::uint32_t bytes_of_bits(std::uint32_t four) {
  return (four * 0x00204081U) & 0x01010101U;
}

// A thread writes the pixels of a mask that lie in 16 bytes, aligned to 16: a mask's first and last
// bytes may be fewer, where its image begins or ends in between. Grid: chunks, masks.
struct UnpackBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  instseg_cuda_masks masks;
  int width;
  int pixels;  // of an image
  std::uint8_t* out;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const std::int64_t n = block.y;
    std::uint8_t* const plane = out + n * pixels;
    const int before = static_cast<int>(reinterpret_cast<std::uintptr_t>(plane) %
                                        std::uintptr_t{PixelChunk::kPixels});
    block.each([&](int thread) {
      const std::int64_t chunk = std::int64_t{block.x} * kThreads + thread;
      const std::int64_t first = chunk * PixelChunk::kPixels - before;
      if (first >= pixels) {
        return;
      }
      const int begin = first < 0 ? 0 : static_cast<int>(first);
      const int end = pixels - first < PixelChunk::kPixels
                          ? pixels
                          : static_cast<int>(first) + PixelChunk::kPixels;
      const std::uint32_t bits = bits_of(n, begin, end - begin);
      if (end - begin == PixelChunk::kPixels) {
        *reinterpret_cast<PixelChunk*>(plane + begin) = {
            {bytes_of_bits(bits & 15U), bytes_of_bits(bits >> 4 & 15U),
             bytes_of_bits(bits >> 8 & 15U), bytes_of_bits(bits >> 12)}};
      } else {
        for (int i = begin; i < end; ++i) {
          plane[i] = static_cast<std::uint8_t>(bits >> (i - begin) & 1U);
        }
      }
    });
  }

  // Bit i is pixel begin + i of the image, row by row.
  INSTSEG_KERNEL std::uint32_t bits_of(std::int64_t n, int begin, int count) const {
    if (masks.offsets[n + 1] > masks.words_capacity) {
      return 0;
    }
    std::uint32_t bits = 0;
    int y = begin / width;
    int x = begin % width;
    for (int done = 0; done < count; ++y, x = 0) {
      const int part = count - done < width - x ? count - done : width - x;
      bits |= bits_of_row(n, y, x, part) << done;
      done += part;
    }
    return bits;
  }

  // Bit i is pixel (x + i, y) of the image, for at most 16 of them.
  INSTSEG_KERNEL std::uint32_t bits_of_row(std::int64_t n, int y, int x, int count) const {
    const std::int32_t* const crop = masks.crops + n * 4;
    const int row = y - crop[1];
    const int begin = x > crop[0] ? x : crop[0];
    const int crop_end = crop[0] + crop[2];
    const int end = x + count < crop_end ? x + count : crop_end;
    if (row < 0 || row >= crop[3] || begin >= end) {
      return 0;
    }
    const int column = begin - crop[0];
    const int shift = column % kWarp;
    const std::uint32_t* const word =
        masks.words + masks.offsets[n] + row * ceil_div(crop[2], kWarp) + column / kWarp;
    std::uint32_t bits = word[0] >> shift;
    if (shift + end - begin > kWarp) {
      bits |= word[1] << (kWarp - shift);
    }
    return (bits & ((1U << (end - begin)) - 1U)) << (begin - x);
  }
};

}  // namespace instseg::cuda
