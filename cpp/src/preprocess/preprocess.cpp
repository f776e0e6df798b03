#include "preprocess/preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>

#include "instseg/error.hpp"
#include "preprocess/row_kernels.hpp"

namespace instseg {
namespace {

constexpr int kSlots =
    4;  // resized source rows that a task keeps; a power of two, at least the taps
constexpr std::int64_t kMinTaskRows = 16;  // below, the rows that neighbours both resize weigh more

// Rows this far apart are no image; offsets of 2^20 of them fit into 64 bits.
constexpr std::ptrdiff_t kMaxStride = std::ptrdiff_t{1} << 40;

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

void check_input(const InputSpec& spec, PixelSize resized, PixelSize input, std::size_t out_size) {
  check_size("the network input", input.width, input.height);
  if (resized.height > input.height || resized.width > input.width) {
    fail("the resized image of " + size_text(resized.width, resized.height) +
         " pixels does not fit into the network input of " + size_text(input.width, input.height));
  }
  const std::size_t expected =
      3 * static_cast<std::size_t>(input.height) * static_cast<std::size_t>(input.width);
  if (out_size != expected) {
    fail("the output has " + std::to_string(out_size) + " values, expected " +
         std::to_string(expected) + " (3 x " + std::to_string(input.height) + " x " +
         std::to_string(input.width) + ")");
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

// Resizes rows [begin, end) of the network input with buffers of its own.
template <Sampling sampling>
class RowTask {
 public:
  using Kept = std::conditional_t<sampling == Sampling::fixed_linear, std::int16_t, float>;
  static constexpr int kTaps = taps_of(sampling);

  struct Buffers {
    float* source;       // one source row, 4 values more than it has
    float* interleaved;  // one resized row, 4 values per pixel
    Kept* slots;         // kSlots resized rows, in planes
  };

  RowTask(const ImageView& image, const InputSpec& spec, PixelSize resized, PixelSize input,
          const PreprocessScratch& scratch, const Buffers& buffers)
      : image_(image),
        resized_(resized),
        input_(input),
        scratch_(scratch),
        buffers_(buffers),
        pixel_bytes_(channels(image.format)),
        planes_(pixel_bytes_ == 1 ? 1 : 3) {
    row_in_slot_.fill(-1);
    const bool image_is_rgb =
        image.format == PixelFormat::rgb8 || image.format == PixelFormat::rgba8;
    const bool reversed = image_is_rgb != (spec.color == InputSpec::Color::rgb);
    for (int channel = 0; channel < 3; ++channel) {
      const auto at = static_cast<std::size_t>(channel);
      source_plane_[at] = planes_ == 1 ? 0 : (reversed ? 2 - channel : channel);
      normalization_[at] = {spec.scale / spec.std[at], -spec.mean[at] / spec.std[at]};
    }
  }

  void run(int begin, int end, float* out) {
    const std::ptrdiff_t plane = std::ptrdiff_t{input_.height} * input_.width;
    for (int y = begin; y < end; ++y) {
      float* row = out + std::ptrdiff_t{y} * input_.width;
      const int written = y < resized_.height ? resized_.width : 0;
      if (written > 0) {
        write_row(y, row, plane);
      }
      if (written < input_.width) {
        for (int channel = 0; channel < 3; ++channel, row += plane) {
          std::fill(row + written, row + input_.width, 0.0F);
        }
      }
    }
  }

 private:
  // plane: values from one channel's row to the next one's.
  void write_row(int y, float* out, std::ptrdiff_t plane) {
    const int* offsets = scratch_.y.offsets.data() + std::ptrdiff_t{y} * kTaps;
    const float* weights = scratch_.y.weights.data() + std::ptrdiff_t{y} * kTaps;
    std::array<const Kept*, 4> rows{};
    for (int k = 0; k < kTaps; ++k) {
      rows[static_cast<std::size_t>(k)] = resized_row(offsets[k]);
    }
    for (std::size_t channel = 0; channel < 3; ++channel, out += plane) {
      std::array<const Kept*, 4> plane_rows{};
      for (std::size_t k = 0; k < kTaps; ++k) {
        plane_rows[k] = rows[k] + std::ptrdiff_t{source_plane_[channel]} * resized_.width;
      }
      const Normalization& normalization = normalization_[channel];
      if constexpr (sampling == Sampling::cubic) {
        const int source_channel = source_plane_[channel];
        combine_cubic(plane_rows, weights, resized_.width, normalization, out,
                      [&](int x) { return cubic_level(offsets, weights, x, source_channel); });
      } else if constexpr (sampling == Sampling::linear) {
        combine_linear(plane_rows, weights, resized_.width, normalization, out);
      } else {
        combine_fixed_linear(plane_rows, weights, resized_.width, normalization, out);
      }
    }
  }

  // One level from its 16 pixels, to the last bit as maths/resize.hpp defines it.
  float cubic_level(const int* rows, const float* row_weights, int x, int channel) const {
    const AxisSampling& axis = scratch_.x;
    const int* offsets = axis.offsets.data() + std::ptrdiff_t{x} * kTaps;
    const float* weights = axis.weights.data() + std::ptrdiff_t{x} * kTaps;
    float kept[4];
    for (int j = 0; j < 4; ++j) {
      const std::uint8_t* row = image_.data + rows[j] * image_.stride + channel;
      float pixels[4];
      for (int k = 0; k < 4; ++k) {
        const int column = axis.gathered.empty()
                               ? offsets[k]
                               : axis.gathered[static_cast<std::size_t>(offsets[k])];
        pixels[k] = static_cast<float>(row[std::ptrdiff_t{column} * pixel_bytes_]);
      }
      kept[j] = cubic_row_sum(pixels, weights);
    }
    return round_level(clamp_level(cubic_column_sum(kept, row_weights)));
  }

  const Kept* resized_row(int y) {
    // The rows of one output row are neighbours, so they never share a slot.
    const auto slot = static_cast<std::size_t>(y % kSlots);
    Kept* kept = buffers_.slots + static_cast<std::ptrdiff_t>(slot) * planes_ * resized_.width;
    if (row_in_slot_[slot] != y) {
      read_row(y);
      resize_row(kept);
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

  void resize_row(Kept* kept) {
    if (planes_ == 1) {
      resize_row_gray<kTaps>(buffers_.source, scratch_.x, buffers_.interleaved);
      for (int i = 0; i < resized_.width; ++i) {
        store(buffers_.interleaved[i], kept[i]);
      }
      return;
    }
    resize_row_interleaved<kTaps>(buffers_.source, pixel_bytes_, scratch_.x, buffers_.interleaved);
    split_planes(buffers_.interleaved, resized_.width, kept);
  }

  const ImageView& image_;
  const PixelSize resized_;
  const PixelSize input_;
  const PreprocessScratch& scratch_;
  const Buffers buffers_;
  const int pixel_bytes_;
  const int planes_;
  std::array<int, kSlots> row_in_slot_{};
  std::array<int, 3> source_plane_{};
  std::array<Normalization, 3> normalization_{};
};

template <Sampling sampling>
void resize_all(const ImageView& image, const InputSpec& spec, PixelSize resized, PixelSize input,
                std::span<float> out, PreprocessScratch& scratch,
                std::vector<typename RowTask<sampling>::Kept>& kept, ThreadPool& pool) {
  scratch.x.prepare(image.width, resized.width, sampling, true);
  scratch.y.prepare(image.height, resized.height, sampling, false);
  const std::int64_t threads = pool.threads();
  // Several tasks per thread, so that one that is late does not hold up the others.
  const std::int64_t wanted = threads == 1 ? 1 : threads * 4;
  const std::int64_t task_rows = std::max(kMinTaskRows, (input.height + wanted - 1) / wanted);
  const std::int64_t tasks = (input.height + task_rows - 1) / task_rows;

  const auto width = static_cast<std::size_t>(resized.width);
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
      RowTask<sampling> rows(image, spec, resized, input, scratch,
                             {staging, staging + source_values, kept.data() + index * kept_values});
      rows.run(static_cast<int>(task * task_rows),
               static_cast<int>(std::min<std::int64_t>((task + 1) * task_rows, input.height)),
               out.data());
    }
  });
}

}  // namespace

void check_image(const ImageView& image) {
  check_size("the image", image.width, image.height);
  if (image.data == nullptr) {
    fail("the image of " + size_text(image.width, image.height) + " has no data (null pointer)");
  }
  const std::ptrdiff_t row = std::ptrdiff_t{image.width} * channels(image.format);
  if (image.stride < row || image.stride > kMaxStride) {
    fail("the stride is " + std::to_string(image.stride) + " bytes, expected at least " +
         std::to_string(row) + " (" + std::to_string(image.width) + " pixels of " +
         std::to_string(channels(image.format)) + " bytes) and at most " +
         std::to_string(kMaxStride));
  }
  if (image.memory != PixelMemory::host && image.memory != PixelMemory::gpu) {
    fail("the pixels' memory is " + std::to_string(static_cast<int>(image.memory)) +
         ", expected host (0) or gpu (1)");
  }
}

PreprocessInfo preprocess(const ImageView& image, const InputSpec& spec, PixelSize input,
                          std::span<float> out, PreprocessScratch& scratch, ThreadPool& pool) {
  check_image(image);
  if (image.memory != PixelMemory::host) {
    fail("the pixels are on a GPU, expected pixels on the host");
  }
  const PixelSize resized = resized_size(spec, {image.height, image.width});
  check_input(spec, resized, input, out.size());
  if (spec.normalize_first) {
    resize_all<Sampling::linear>(image, spec, resized, input, out, scratch, scratch.float_rows,
                                 pool);
  } else if (spec.interpolation == InputSpec::Interpolation::linear) {
    resize_all<Sampling::fixed_linear>(image, spec, resized, input, out, scratch,
                                       scratch.fixed_rows, pool);
  } else {
    resize_all<Sampling::cubic>(image, spec, resized, input, out, scratch, scratch.float_rows,
                                pool);
  }
  return {resized.height, resized.width,
          static_cast<float>(resized.width) / static_cast<float>(image.width),
          static_cast<float>(resized.height) / static_cast<float>(image.height)};
}

}  // namespace instseg
