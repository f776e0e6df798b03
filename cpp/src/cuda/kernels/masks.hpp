// From planes of cells to packed bits. `n` counts instances, images x capacity.
#pragma once

#include <cstdint>

#include "cuda/execution/block.hpp"
#include "cuda/ops_api.h"
#include "instseg/mask.hpp"
#include "maths/bilinear.hpp"
#include "maths/paste.hpp"
#include "maths/sigmoid.hpp"

namespace instseg::cuda {

struct ImageSize {
  int height, width;
};
struct ImageSizes {
  ImageSize of[INSTSEG_CUDA_MAX_IMAGES];
};

// The part of the network input that shows each image.
struct ResizedSizes {
  struct Size {
    float height, width;
  };
  Size of[INSTSEG_CUDA_MAX_IMAGES];
};

// The instances of a call.
struct Instances {
  const std::int32_t* counts;  // by image
  int capacity;
  int images;

  INSTSEG_HOST_DEVICE std::int64_t total() const { return std::int64_t{images} * capacity; }
  INSTSEG_KERNEL int image(std::int64_t n) const { return static_cast<int>(n / capacity); }
  INSTSEG_KERNEL bool exists(std::int64_t n) const {
    return static_cast<int>(n % capacity) < counts[image(n)];
  }
};

// The weights of one pixel of one axis.
struct AxisTap {
  int first;
  float w0, w1, w2;
};

struct Region {
  Interval x, y;
};

// The two axes of a map that becomes an image.
struct MaskGeometry {
  int rows, columns;  // cells
  int upsampled_height, upsampled_width;
  int visible_height, visible_width;

  INSTSEG_HOST_DEVICE ResizeChain along_x(int image_width) const {
    return {columns, upsampled_width, visible_width, image_width};
  }
  INSTSEG_HOST_DEVICE ResizeChain along_y(int image_height) const {
    return {rows, upsampled_height, visible_height, image_height};
  }
};

// Bounds that any cell or pixel makes smaller.
INSTSEG_HOST_DEVICE constexpr Region empty_bounds() { return {{INT32_MAX, 0}, {INT32_MAX, 0}}; }

template <class Block>
INSTSEG_KERNEL void widen(const Block& block, const Region& found, Region& bounds) {
  block.lower(bounds.x.begin, found.x.begin);
  block.raise(bounds.x.end, found.x.end);
  block.lower(bounds.y.begin, found.y.begin);
  block.raise(bounds.y.end, found.y.end);
}

INSTSEG_HOST_DEVICE inline bool contains(const Region& outer, const Region& inner) {
  return outer.x.begin <= inner.x.begin && inner.x.end <= outer.x.end &&
         outer.y.begin <= inner.y.begin && inner.y.end <= outer.y.end;
}

struct ClearBoundsBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  Region* bounds;
  std::int64_t total;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const std::int64_t n = std::int64_t{block.x} * kThreads + thread;
      if (n < total) {
        bounds[n] = empty_bounds();
      }
    });
  }
};

// What is done to a cell before it is interpolated.
enum class CellValue { logit, probability };

INSTSEG_HOST_DEVICE inline float finite_cell(float value) {
  constexpr float kLargestCell = 1e30F;  // finite after interpolation
  const float raised = value > -kLargestCell ? value : -kLargestCell;
  return raised < kLargestCell ? raised : kLargestCell;
}

// The bounds of the cells above the threshold; then logits become what is interpolated.
// Grid: parts of a plane, instances.
template <CellValue kind, bool find_bounds>
struct CellsBody {
  static constexpr int kThreads = 256;
  static constexpr int kCellsPerBlock = 4096;
  struct Shared {
    Region bounds;
  };
  Instances instances;
  float* planes;  // n x rows x columns
  int rows, columns;
  float threshold;
  Region* bounds;  // n

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const std::int64_t n = block.y;
    if (!instances.exists(n)) {
      return;
    }
    const int cells = rows * columns;
    const int begin = block.x * kCellsPerBlock;
    const int end = cells - begin < kCellsPerBlock ? cells : begin + kCellsPerBlock;
    block.each([&](int thread) {
      if (thread == 0) {
        shared.bounds = empty_bounds();
      }
    });
    block.each([&](int thread) {
      Region found = empty_bounds();
      float* const plane = planes + n * cells;
      for (int i = begin + thread; i < end; i += kThreads) {
        const float value = plane[i];
        if (find_bounds && value > threshold) {
          const int y = i / columns;
          const int x = i % columns;
          found = {{std::min(found.x.begin, x), std::max(found.x.end, x + 1)},
                   {std::min(found.y.begin, y), std::max(found.y.end, y + 1)}};
        }
        plane[i] =
            kind == CellValue::probability ? logistic(bound_logit(value)) : finite_cell(value);
      }
      if (find_bounds && found.x.end > 0) {
        widen(block, found, shared.bounds);
      }
    });
    if (find_bounds) {
      block.each([&](int thread) {
        if (thread == 0) {
          widen(block, shared.bounds, bounds[n]);
        }
      });
    }
  }
};

// The taps of all pixels of the images, without a cut. Grid: pixels, axes, images.
struct ImageTapsBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  MaskGeometry geometry;
  ImageSizes sizes;
  AxisTap* x;  // images x max_width
  AxisTap* y;  // images x max_height
  int max_width, max_height;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const ImageSize size = sizes.of[block.z];
    block.each([&](int thread) {
      const int pixel = block.x * kThreads + thread;
      if (block.y == 0 && pixel < size.width) {
        x[std::int64_t{block.z} * max_width + pixel] = whole(geometry.along_x(size.width), pixel);
      } else if (block.y == 1 && pixel < size.height) {
        y[std::int64_t{block.z} * max_height + pixel] = whole(geometry.along_y(size.height), pixel);
      }
    });
  }

  INSTSEG_KERNEL static AxisTap whole(const ResizeChain& chain, int pixel) {
    const ComposedTaps taps = compose_pixel(chain, {0, chain.visible}, pixel);
    return {taps.first, taps.w0, taps.w1, taps.w2};
  }
};

// The pixels that read a cell of the bounds. One thread per instance.
struct NarrowBody {
  static constexpr int kThreads = 64;
  using Shared = NoShared;
  Instances instances;
  ImageSizes sizes;
  const AxisTap* x;
  const AxisTap* y;
  int max_width, max_height;
  const Region* bounds;
  Region* windows;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const std::int64_t n = std::int64_t{block.x} * kThreads + thread;
      if (n >= instances.total()) {
        return;
      }
      Region window{};
      if (instances.exists(n)) {
        const int image = instances.image(n);
        const ImageSize size = sizes.of[image];
        window = {narrow(x + std::int64_t{image} * max_width, size.width, bounds[n].x),
                  narrow(y + std::int64_t{image} * max_height, size.height, bounds[n].y)};
      }
      windows[n] = window;
    });
  }

  // Neither the first nor the last cell that a pixel reads falls from one pixel to the next.
  INSTSEG_KERNEL static Interval narrow(const AxisTap* taps, int pixels, const Interval& cells) {
    if (cells.size() == 0) {
      return {};
    }
    const int begin = first_where(pixels, [&](int i) {
      return taps[i].first + (taps[i].w2 > 0.0F ? 2 : taps[i].w1 > 0.0F ? 1 : 0) >= cells.begin;
    });
    const int end = first_where(pixels, [&](int i) { return taps[i].first >= cells.end; });
    return {begin, std::max(begin, end)};
  }

  // The first of [0, count) for which the test holds; it holds for all behind that one.
  template <class Test>
  INSTSEG_KERNEL static int first_where(int count, const Test& test) {
    int low = 0;
    int high = count;
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (test(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

// Windows and taps of masks that are cut to their box, from the prototypes' cells.
struct BoxCut {
  MaskGeometry geometry;
  const float* boxes;  // n x 4, pixels of the network input

  INSTSEG_KERNEL Interval kept(std::int64_t n, bool along_x) const {
    const float* const box = boxes + n * 4;
    return along_x ? whole_numbers(box[0], box[2], geometry.upsampled_width)
                   : whole_numbers(box[1], box[3], geometry.upsampled_height);
  }
  INSTSEG_KERNEL Interval window(std::int64_t n, bool along_x, int image) const {
    return reached_pixels(along_x ? geometry.along_x(image) : geometry.along_y(image),
                          kept(n, along_x));
  }
  INSTSEG_KERNEL ComposedTaps taps(std::int64_t n, bool along_x, int image, int pixel) const {
    return compose_pixel(along_x ? geometry.along_x(image) : geometry.along_y(image),
                         kept(n, along_x), pixel);
  }
};

// The same for small maps that are pasted over their box.
struct BoxPaste {
  int rows, columns;
  const float* boxes;  // n x 4, pixels of the original image

  INSTSEG_KERNEL Interval window(std::int64_t n, bool along_x, int image) const {
    const float* const box = boxes + n * 4;
    return along_x ? pasted_pixels(box[0], box[2], columns, image)
                   : pasted_pixels(box[1], box[3], rows, image);
  }
  INSTSEG_KERNEL ComposedTaps taps(std::int64_t n, bool along_x, int, int pixel) const {
    const float* const box = boxes + n * 4;
    return along_x ? paste_taps(pixel, box[0], box[2], columns)
                   : paste_taps(pixel, box[1], box[3], rows);
  }
};

// One block per axis and instance. Grid: axes, instances.
template <class Source>
struct InstanceTapsBody {
  static constexpr int kThreads = 128;
  struct Shared {
    Interval pixels;
  };
  Instances instances;
  ImageSizes sizes;
  Source source;
  AxisTap* x;  // n x max_width
  AxisTap* y;
  int max_width, max_height;
  Region* windows;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const std::int64_t n = block.y;
    const bool along_x = block.x == 0;
    const bool exists = instances.exists(n);
    const ImageSize size = sizes.of[instances.image(n)];
    const int image = along_x ? size.width : size.height;
    block.each([&](int thread) {
      if (thread == 0) {
        shared.pixels = exists ? source.window(n, along_x, image) : Interval{};
        (along_x ? windows[n].x : windows[n].y) = shared.pixels;
      }
    });
    block.each([&](int thread) {
      AxisTap* const target = along_x ? x + n * max_width : y + n * max_height;
      for (int pixel = shared.pixels.begin + thread; pixel < shared.pixels.end; pixel += kThreads) {
        const ComposedTaps taps = source.taps(n, along_x, image, pixel);
        target[pixel] = {taps.first, taps.w0, taps.w1, taps.w2};
      }
    });
  }
};

}  // namespace instseg::cuda
