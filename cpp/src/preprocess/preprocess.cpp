#include "preprocess/preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "instseg/error.hpp"

namespace instseg {
namespace {

constexpr int kSlots =
    4;  // resized source rows that a task keeps; a power of two, at least the taps
constexpr std::int64_t kMinTaskRows = 16;  // below, the rows that neighbours both resize weigh more

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "preprocessing: " + what);
}

std::string size_text(std::int64_t width, std::int64_t height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

void check_size(const char* what, int width, int height) {
  if (width <= 0 || height <= 0 || width > kMaxImageSide || height > kMaxImageSide ||
      std::int64_t{width} * height > kMaxImagePixels) {
    fail(std::string(what) + " is " + size_text(width, height) +
         " pixels, expected sides of 1 to " + std::to_string(kMaxImageSide) + " and at most " +
         std::to_string(kMaxImagePixels) + " pixels");
  }
}

void check(const ImageView& image, const PreprocessSpec& spec, std::size_t out_size) {
  check_size("the image", image.width, image.height);
  check_size("the network input", spec.width, spec.height);
  if (image.data == nullptr) {
    fail("the image of " + size_text(image.width, image.height) + " has no data (null pointer)");
  }
  const std::ptrdiff_t row = std::ptrdiff_t{image.width} * channels(image.format);
  if (image.stride < row) {
    fail("the stride is " + std::to_string(image.stride) + " bytes, expected at least " +
         std::to_string(row) + " (" + std::to_string(image.width) + " pixels of " +
         std::to_string(channels(image.format)) + " bytes)");
  }
  const std::size_t expected =
      3 * static_cast<std::size_t>(spec.height) * static_cast<std::size_t>(spec.width);
  if (out_size != expected) {
    fail("the output has " + std::to_string(out_size) + " values, expected " +
         std::to_string(expected) + " (3 x " + std::to_string(spec.height) + " x " +
         std::to_string(spec.width) + ")");
  }
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const float mean = spec.mean[channel];
    const float std = spec.std[channel];
    if (!std::isfinite(spec.scale) || !std::isfinite(mean) || !std::isfinite(std) || std == 0.0F) {
      fail("channel " + std::to_string(channel) + " has scale " + std::to_string(spec.scale) +
           ", mean " + std::to_string(mean) + ", std " + std::to_string(std) +
           "; expected finite numbers and a std that is not 0");
    }
  }
}

// value = level * factor + offset
struct Normalization {
  float factor;
  float offset;
};

// Four channels at a time, so that a sample is one vector; with three, the fourth is the next
// sample's first and is thrown away. `stride`: values per source sample.
template <int taps>
void resize_row_interleaved(const float* __restrict source, int stride, const AxisSampling& axis,
                            float* __restrict out) {
  const int* offset = axis.offsets.data();
  const float* weight = axis.weights.data();
  for (int i = 0; i < axis.target; ++i, offset += taps, weight += taps, out += 4) {
    float sum[4] = {};
    for (int k = 0; k < taps; ++k) {
      const float* sample = source + std::ptrdiff_t{offset[k]} * stride;
      for (int channel = 0; channel < 4; ++channel) {
        sum[channel] += weight[k] * sample[channel];
      }
    }
    for (int channel = 0; channel < 4; ++channel) {
      out[channel] = sum[channel];
    }
  }
}

template <int taps>
void resize_row_gray(const float* __restrict source, const AxisSampling& axis,
                     float* __restrict out) {
  const int* offset = axis.offsets.data();
  const float* weight = axis.weights.data();
  for (int i = 0; i < axis.target; ++i, offset += taps, weight += taps) {
    float sum = 0.0F;
    for (int k = 0; k < taps; ++k) {
      sum += weight[k] * source[offset[k]];
    }
    out[i] = sum;
  }
}

// One value of a resized row, as it is kept for the vertical pass. The linear resize keeps sums of
// 11-bit weights as OpenCV does, without their lowest 4 bits.
void store(float sum, float& kept) { kept = sum; }
void store(float sum, std::int16_t& kept) {
  kept = static_cast<std::int16_t>(static_cast<std::int32_t>(sum) >> 4);
}

template <class Kept>
void split_planes(const float* __restrict interleaved, int width, Kept* __restrict planes) {
  Kept* __restrict second = planes + width;
  Kept* __restrict third = second + width;
  for (int i = 0; i < width; ++i) {
    store(interleaved[i * 4], planes[i]);
    store(interleaved[i * 4 + 1], second[i]);
    store(interleaved[i * 4 + 2], third[i]);
  }
}

void combine_rows(const std::array<const float*, 4>& rows, const float* weights, int width,
                  const Normalization& normalization, float* __restrict out) {
  const float* __restrict r0 = rows[0];
  const float* __restrict r1 = rows[1];
  const float* __restrict r2 = rows[2];
  const float* __restrict r3 = rows[3];
  const float w0 = weights[0];
  const float w1 = weights[1];
  const float w2 = weights[2];
  const float w3 = weights[3];
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number, halves to even.
  constexpr float kRound = 12582912.0F;
  for (int i = 0; i < width; ++i) {
    float level = w0 * r0[i] + w1 * r1[i] + w2 * r2[i] + w3 * r3[i];
    level = level < 0.0F ? 0.0F : level;
    level = level > 255.0F ? 255.0F : level;
    level = (level + kRound) - kRound;
    out[i] = level * normalization.factor + normalization.offset;
  }
}

void combine_rows(const std::array<const std::int16_t*, 4>& rows, const float* weights, int width,
                  const Normalization& normalization, float* __restrict out) {
  const std::int16_t* __restrict r0 = rows[0];
  const std::int16_t* __restrict r1 = rows[1];
  const auto w0 = static_cast<std::int16_t>(weights[0]);
  const auto w1 = static_cast<std::int16_t>(weights[1]);
  for (int i = 0; i < width; ++i) {
    // OpenCV's order of shifts: each product loses its low half before the sum.
    const auto p0 = static_cast<std::int16_t>((r0[i] * w0) >> 16);
    const auto p1 = static_cast<std::int16_t>((r1[i] * w1) >> 16);
    const auto level = static_cast<std::int16_t>((p0 + p1 + 2) >> 2);
    out[i] = static_cast<float>(level) * normalization.factor + normalization.offset;
  }
}

// Resizes output rows [begin, end) with buffers of its own.
template <class Kept>
class RowTask {
 public:
  struct Buffers {
    float* source;       // one source row, 4 values more than it has
    float* interleaved;  // one resized row, 4 values per pixel
    Kept* slots;         // kSlots resized rows, in planes
  };

  RowTask(const ImageView& image, const PreprocessSpec& spec, const PreprocessScratch& scratch,
          const Buffers& buffers)
      : image_(image),
        spec_(spec),
        scratch_(scratch),
        buffers_(buffers),
        pixel_bytes_(channels(image.format)),
        planes_(pixel_bytes_ == 1 ? 1 : 3) {
    row_in_slot_.fill(-1);
    const bool image_is_rgb =
        image.format == PixelFormat::rgb8 || image.format == PixelFormat::rgba8;
    const bool reversed = image_is_rgb != (spec.color == ColorOrder::rgb);
    for (int channel = 0; channel < 3; ++channel) {
      const auto at = static_cast<std::size_t>(channel);
      source_plane_[at] = planes_ == 1 ? 0 : (reversed ? 2 - channel : channel);
      normalization_[at] = {spec.scale / spec.std[at], -spec.mean[at] / spec.std[at]};
    }
  }

  void run(int begin, int end, float* out) {
    const int taps = taps_of(spec_.interpolation);
    for (int y = begin; y < end; ++y) {
      const int* offsets = scratch_.y.offsets.data() + std::ptrdiff_t{y} * taps;
      const float* weights = scratch_.y.weights.data() + std::ptrdiff_t{y} * taps;
      std::array<const Kept*, 4> rows{};
      for (int k = 0; k < taps; ++k) {
        rows[static_cast<std::size_t>(k)] = resized_row(offsets[k]);
      }
      for (int channel = 0; channel < 3; ++channel) {
        const auto at = static_cast<std::size_t>(channel);
        std::array<const Kept*, 4> plane_rows{};
        for (int k = 0; k < taps; ++k) {
          plane_rows[static_cast<std::size_t>(k)] =
              rows[static_cast<std::size_t>(k)] + std::ptrdiff_t{source_plane_[at]} * spec_.width;
        }
        combine_rows(plane_rows, weights, spec_.width, normalization_[at],
                     out + (std::ptrdiff_t{channel} * spec_.height + y) * spec_.width);
      }
    }
  }

 private:
  const Kept* resized_row(int y) {
    // The rows of one output row are neighbours, so they never share a slot.
    const auto slot = static_cast<std::size_t>(y % kSlots);
    Kept* kept = buffers_.slots + static_cast<std::ptrdiff_t>(slot) * planes_ * spec_.width;
    if (row_in_slot_[slot] != y) {
      read_row(y);
      if (spec_.interpolation == Interpolation::linear) {
        resize_row<2>(kept);
      } else {
        resize_row<4>(kept);
      }
      row_in_slot_[slot] = y;
    }
    return kept;
  }

  void read_row(int y) {
    const std::uint8_t* __restrict row = image_.data + y * image_.stride;
    float* __restrict out = buffers_.source;
    const std::vector<int>& gathered = scratch_.x.gathered;
    if (gathered.empty()) {
      const int count = image_.width * pixel_bytes_;
      for (int i = 0; i < count; ++i) {
        out[i] = static_cast<float>(row[i]);
      }
      return;
    }
    for (const int x : gathered) {
      for (int channel = 0; channel < pixel_bytes_; ++channel) {
        *out++ = static_cast<float>(row[std::ptrdiff_t{x} * pixel_bytes_ + channel]);
      }
    }
  }

  template <int taps>
  void resize_row(Kept* kept) {
    if (planes_ == 1) {
      resize_row_gray<taps>(buffers_.source, scratch_.x, buffers_.interleaved);
      for (int i = 0; i < spec_.width; ++i) {
        store(buffers_.interleaved[i], kept[i]);
      }
      return;
    }
    resize_row_interleaved<taps>(buffers_.source, pixel_bytes_, scratch_.x, buffers_.interleaved);
    split_planes(buffers_.interleaved, spec_.width, kept);
  }

  const ImageView& image_;
  const PreprocessSpec& spec_;
  const PreprocessScratch& scratch_;
  const Buffers buffers_;
  const int pixel_bytes_;
  const int planes_;
  std::array<int, kSlots> row_in_slot_{};
  std::array<int, 3> source_plane_{};
  std::array<Normalization, 3> normalization_{};
};

template <class Kept>
void resize_all(const ImageView& image, const PreprocessSpec& spec, std::span<float> out,
                PreprocessScratch& scratch, std::vector<Kept>& kept, ThreadPool& pool) {
  const std::int64_t threads = pool.threads();
  // Several tasks per thread, so that one that is late does not hold up the others.
  const std::int64_t wanted = threads == 1 ? 1 : threads * 4;
  const std::int64_t task_rows = std::max(kMinTaskRows, (spec.height + wanted - 1) / wanted);
  const std::int64_t tasks = (spec.height + task_rows - 1) / task_rows;

  const auto width = static_cast<std::size_t>(spec.width);
  const auto pixel_bytes = static_cast<std::size_t>(channels(image.format));
  const std::size_t source_pixels = scratch.x.gathered.empty()
                                        ? static_cast<std::size_t>(image.width)
                                        : scratch.x.gathered.size();
  const std::size_t source_values = source_pixels * pixel_bytes + 4;
  const std::size_t staging_values = source_values + width * 4;
  const std::size_t kept_values = kSlots * (pixel_bytes == 1 ? 1 : 3) * width;
  scratch.staging.resize(static_cast<std::size_t>(tasks) * staging_values);
  kept.resize(static_cast<std::size_t>(tasks) * kept_values);

  pool.parallel_for(0, tasks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task) {
      const auto index = static_cast<std::size_t>(task);
      float* staging = scratch.staging.data() + index * staging_values;
      RowTask<Kept> rows(image, spec, scratch,
                         {staging, staging + source_values, kept.data() + index * kept_values});
      rows.run(static_cast<int>(task * task_rows),
               static_cast<int>(std::min<std::int64_t>((task + 1) * task_rows, spec.height)),
               out.data());
    }
  });
}

}  // namespace

PreprocessInfo preprocess(const ImageView& image, const PreprocessSpec& spec, std::span<float> out,
                          PreprocessScratch& scratch, ThreadPool& pool) {
  check(image, spec, out.size());
  scratch.x.prepare(image.width, spec.width, spec.interpolation, true);
  scratch.y.prepare(image.height, spec.height, spec.interpolation, false);
  if (spec.interpolation == Interpolation::linear) {
    resize_all(image, spec, out, scratch, scratch.fixed_rows, pool);
  } else {
    resize_all(image, spec, out, scratch, scratch.float_rows, pool);
  }
  return {static_cast<float>(spec.width) / static_cast<float>(image.width),
          static_cast<float>(spec.height) / static_cast<float>(image.height)};
}

}  // namespace instseg
