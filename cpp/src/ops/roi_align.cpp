#include "ops/roi_align.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "instseg/error.hpp"
#include "instseg/image.hpp"

namespace instseg {
namespace {

using Bin = RoiAlignScratch::Bin;
using Roi = RoiAlignScratch::Roi;

constexpr std::int64_t kRoisPerChunk = 64;
// So few that the maps of a block stay in the cache while all RoIs are read.
constexpr std::int64_t kChannelsPerBlock = 8;
constexpr int kMaxSamples = 64;

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "RoIAlign: " + what);
}

void check_level(const FeatureLevel& level, int channels) {
  if (level.height < 1 || level.width < 1 ||
      std::int64_t{level.height} * level.width > kMaxImagePixels) {
    fail("a map of " + std::to_string(level.width) + " x " + std::to_string(level.height) +
         " cells, expected 1 to " + std::to_string(kMaxImagePixels) + " of them");
  }
  const std::size_t expected = static_cast<std::size_t>(channels) *
                               static_cast<std::size_t>(level.height) *
                               static_cast<std::size_t>(level.width);
  if (level.features.size() != expected) {
    fail(std::to_string(level.features.size()) + " features, expected " + std::to_string(expected) +
         " (" + std::to_string(channels) + " x " + std::to_string(level.height) + " x " +
         std::to_string(level.width) + ")");
  }
  if (!(level.stride > 0.0F) || !std::isfinite(level.stride)) {
    fail("a stride of " + std::to_string(level.stride) + ", expected a positive number");
  }
}

void check(std::span<const FeatureLevel> levels, std::span<const Box> rois,
           const RoiAlignSpec& spec, std::size_t out_size) {
  if (levels.empty()) {
    fail("no feature map, expected at least one");
  }
  if (spec.channels < 1 || spec.channels > kMaxImageSide) {
    fail(std::to_string(spec.channels) + " channels, expected 1 to " +
         std::to_string(kMaxImageSide));
  }
  if (spec.output_size < 1 || spec.output_size > kMaxRoiBins || spec.sampling_ratio < 0 ||
      spec.sampling_ratio > kMaxSamples) {
    fail(std::to_string(spec.output_size) + " bins a side and " +
         std::to_string(spec.sampling_ratio) + " samples, expected 1 to " +
         std::to_string(kMaxRoiBins) + " and 0 to " + std::to_string(kMaxSamples));
  }
  for (const FeatureLevel& level : levels) {
    check_level(level, spec.channels);
  }
  const auto side = static_cast<std::size_t>(spec.output_size);
  const std::size_t expected = rois.size() * static_cast<std::size_t>(spec.channels) * side * side;
  if (out_size != expected) {
    fail("an output of " + std::to_string(out_size) + " values, expected " +
         std::to_string(expected) + " (" + std::to_string(rois.size()) + " x " +
         std::to_string(spec.channels) + " x " + std::to_string(side) + " x " +
         std::to_string(side) + ")");
  }
}

// The cells and weights of one bin; samples that read the same cell are added up.
Bin weigh_bin(const RoiAxis& axis, int index, int cells, std::vector<float>& weights) {
  Bin bin;
  bin.offset = static_cast<std::uint32_t>(weights.size());
  for_each_sample(axis, index, cells, [&](int cell, int next, float near, float far) {
    if (bin.count == 0) {
      bin.first = cell;
    }
    bin.count = next - bin.first + 1;
    weights.resize(bin.offset + static_cast<std::size_t>(bin.count), 0.0F);
    weights[bin.offset + static_cast<std::size_t>(cell - bin.first)] += near;
    weights[bin.offset + static_cast<std::size_t>(next - bin.first)] += far;
  });
  return bin;
}

// One axis of a RoI from `low` to `high`, in network pixels. False where it reads nothing.
bool weigh_axis(float low, float high, float stride, int cells, const RoiAlignSpec& spec,
                std::span<Bin> bins, std::vector<float>& weights) {
  const RoiAxis axis =
      roi_axis(low, high, stride, spec.output_size, spec.sampling_ratio, spec.aligned);
  if (!axis.usable) {
    return false;
  }
  bool any = false;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    bins[i] = weigh_bin(axis, static_cast<int>(i), cells, weights);
    any = any || bins[i].count > 0;
  }
  return any;
}

Roi weigh(const Box& box, std::span<const FeatureLevel> levels, const RoiAlignSpec& spec,
          std::span<Bin> bins, std::vector<float>& weights) {
  Roi roi;
  roi.level = roi_level(box, static_cast<int>(levels.size()), spec);
  const FeatureLevel& level = levels[static_cast<std::size_t>(roi.level)];
  const auto side = static_cast<std::size_t>(spec.output_size);
  const std::span<Bin> rows = bins.first(side);
  const std::span<Bin> columns = bins.last(side);
  if (!weigh_axis(box.y1, box.y2, level.stride, level.height, spec, rows, weights) ||
      !weigh_axis(box.x1, box.x2, level.stride, level.width, spec, columns, weights)) {
    return roi;
  }
  roi.first_column = level.width;
  int end = 0;
  for (const Bin& bin : columns) {
    if (bin.count > 0) {
      roi.first_column = std::min(roi.first_column, bin.first);
      end = std::max(end, bin.first + bin.count);
    }
  }
  roi.columns = end - roi.first_column;
  return roi;
}

// out[i] = sum over rows of weight * row[i].
void blend_rows(const float* rows, std::ptrdiff_t stride, const float* weights, int count,
                int columns, float* __restrict out) {
  const float* __restrict r0 = rows;
  int row = 0;
  if (count >= 2) {
    const float* __restrict r1 = rows + stride;
    const float w0 = weights[0];
    const float w1 = weights[1];
    for (int i = 0; i < columns; ++i) {
      out[i] = w0 * r0[i] + w1 * r1[i];
    }
    row = 2;
  } else {
    const float w0 = weights[0];
    for (int i = 0; i < columns; ++i) {
      out[i] = w0 * r0[i];
    }
    row = 1;
  }
  for (; row + 2 <= count; row += 2) {
    const float* __restrict a = rows + row * stride;
    const float* __restrict b = a + stride;
    const float wa = weights[row];
    const float wb = weights[row + 1];
    for (int i = 0; i < columns; ++i) {
      out[i] += wa * a[i] + wb * b[i];
    }
  }
  if (row < count) {
    const float* __restrict a = rows + row * stride;
    const float wa = weights[row];
    for (int i = 0; i < columns; ++i) {
      out[i] += wa * a[i];
    }
  }
}

// One channel of one RoI.
void pool_plane(const FeatureLevel& level, const float* plane, const Roi& roi,
                std::span<const Bin> bins, const float* weights, float* row, float* out) {
  const std::size_t side = bins.size() / 2;
  const std::span<const Bin> columns = bins.last(side);
  for (const Bin& bin : bins.first(side)) {
    if (bin.count == 0) {
      out = std::fill_n(out, side, 0.0F);
      continue;
    }
    // Up to a whole number of vectors, where there is memory behind.
    const float* const begin = plane + std::ptrdiff_t{bin.first} * level.width + roi.first_column;
    const std::ptrdiff_t left = level.features.data() + level.features.size() -
                                (begin + std::ptrdiff_t{bin.count - 1} * level.width);
    const int padded = (roi.columns + 7) / 8 * 8;
    blend_rows(begin, level.width, weights + bin.offset, bin.count,
               padded <= left ? padded : roi.columns, row);
    for (const Bin& column : columns) {
      const float* values = row + (column.first - roi.first_column);
      const float* column_weights = weights + column.offset;
      float sum = 0.0F;
      for (int i = 0; i < column.count; ++i) {
        sum += column_weights[i] * values[i];
      }
      *out++ = sum;
    }
  }
}

}  // namespace

int roi_level(const Box& roi, int levels, const RoiAlignSpec& spec) {
  return pyramid_level(roi, levels, spec.first_level, spec.canonical_level, spec.canonical_size);
}

void roi_align(std::span<const FeatureLevel> levels, std::span<const Box> rois,
               const RoiAlignSpec& spec, ThreadPool& pool, RoiAlignScratch& scratch,
               std::span<float> out) {
  check(levels, rois, spec, out.size());
  const auto count = static_cast<std::int64_t>(rois.size());
  const auto side = static_cast<std::size_t>(spec.output_size);
  const std::int64_t chunks = (count + kRoisPerChunk - 1) / kRoisPerChunk;
  scratch.rois.resize(rois.size());
  scratch.bins.resize(rois.size() * side * 2);
  scratch.weights.resize(std::max(scratch.weights.size(), static_cast<std::size_t>(chunks)));
  const auto bins_of = [&](std::size_t roi) {
    return std::span(scratch.bins).subspan(roi * side * 2, side * 2);
  };
  pool.parallel_for(0, chunks, 1, [&](std::int64_t chunk_begin, std::int64_t chunk_end) {
    for (std::int64_t chunk = chunk_begin; chunk < chunk_end; ++chunk) {
      std::vector<float>& weights = scratch.weights[static_cast<std::size_t>(chunk)];
      weights.clear();
      const std::int64_t end = std::min(count, (chunk + 1) * kRoisPerChunk);
      for (auto i = static_cast<std::size_t>(chunk * kRoisPerChunk);
           i < static_cast<std::size_t>(end); ++i) {
        scratch.rois[i] = weigh(rois[i], levels, spec, bins_of(i), weights);
      }
    }
  });

  // All RoIs of a block of channels, then the next block.
  const std::int64_t blocks = (spec.channels + kChannelsPerBlock - 1) / kChannelsPerBlock;
  int max_width = 0;
  for (const FeatureLevel& level : levels) {
    max_width = std::max(max_width, level.width);
  }
  const auto pool_part = [&](std::int64_t block, std::int64_t chunk, float* row) {
    const auto channel_end = static_cast<std::size_t>(
        std::min<std::int64_t>(spec.channels, (block + 1) * kChannelsPerBlock));
    const float* weights = scratch.weights[static_cast<std::size_t>(chunk)].data();
    const std::int64_t roi_end = std::min(count, (chunk + 1) * kRoisPerChunk);
    for (auto i = static_cast<std::size_t>(chunk * kRoisPerChunk);
         i < static_cast<std::size_t>(roi_end); ++i) {
      const Roi& roi = scratch.rois[i];
      const FeatureLevel& level = levels[static_cast<std::size_t>(roi.level)];
      const std::size_t plane =
          static_cast<std::size_t>(level.height) * static_cast<std::size_t>(level.width);
      for (auto channel = static_cast<std::size_t>(block * kChannelsPerBlock);
           channel < channel_end; ++channel) {
        float* const target =
            out.data() + (i * static_cast<std::size_t>(spec.channels) + channel) * side * side;
        if (roi.columns == 0) {
          std::fill_n(target, side * side, 0.0F);
        } else {
          pool_plane(level, level.features.data() + channel * plane, roi, bins_of(i), weights, row,
                     target);
        }
      }
    }
  };
  pool.parallel_for(0, blocks * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> row;
    row.resize(std::max(row.size(), static_cast<std::size_t>(max_width) + 8));
    for (std::int64_t part = begin; part < end; ++part) {
      pool_part(part / chunks, part % chunks, row.data());
    }
  });
}

}  // namespace instseg
