#include "ops/roi_align.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>

#include "instseg/error.hpp"
#include "instseg/image.hpp"
#include "ops/instruction_set.hpp"
#include "ops/roi_pool.hpp"

namespace instseg {
namespace {

using Bin = RoiAlignScratch::Bin;
using Roi = RoiAlignScratch::Roi;

constexpr std::int64_t kRoisPerChunk = 64;
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

Roi weigh(const Box& box, const FeatureLevel& level, const RoiAlignSpec& spec, std::span<Bin> bins,
          std::vector<float>& weights) {
  Roi roi;
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
  // Wide enough for whole vectors, where the map is.
  roi.columns = std::max(end - roi.first_column, std::min(kPoolLanes, level.width));
  roi.first_column = std::min(roi.first_column, level.width - roi.columns);
  return roi;
}

struct Chunks {
  explicit Chunks(std::size_t roi_count)
      : rois(static_cast<std::int64_t>(roi_count)),
        count((rois + kRoisPerChunk - 1) / kRoisPerChunk) {}

  // In scratch.order.
  [[nodiscard]] std::size_t begin(std::int64_t chunk) const {
    return static_cast<std::size_t>(chunk * kRoisPerChunk);
  }
  [[nodiscard]] std::size_t end(std::int64_t chunk) const {
    return static_cast<std::size_t>(std::min(rois, (chunk + 1) * kRoisPerChunk));
  }

  std::int64_t rois;
  std::int64_t count;
};

std::span<Bin> bins_of(std::size_t place, int output_size, RoiAlignScratch& scratch) {
  const std::size_t count = 2 * static_cast<std::size_t>(output_size);
  return std::span(scratch.bins).subspan(place * count, count);
}

void weigh_chunk(std::span<const FeatureLevel> levels, std::span<const Box> rois,
                 const RoiAlignSpec& spec, const Chunks& chunks, std::int64_t chunk,
                 RoiAlignScratch& scratch) {
  std::vector<float>& weights = scratch.weights[static_cast<std::size_t>(chunk)];
  weights.clear();
  for (std::size_t i = chunks.begin(chunk); i < chunks.end(chunk); ++i) {
    const RoiPlace& place = scratch.order[i];
    scratch.rois[i] = weigh(rois[static_cast<std::size_t>(place.roi)],
                            levels[static_cast<std::size_t>(place.level)], spec,
                            bins_of(i, spec.output_size, scratch), weights);
  }
}

// The RoIs of a chunk, for the channels from first_channel on.
void pool_chunk(std::span<const FeatureLevel> levels, const RoiAlignSpec& spec, int first_channel,
                const Chunks& chunks, std::int64_t chunk, RoiAlignScratch& scratch, float* buffer,
                std::span<float> out) {
  const auto side = static_cast<std::size_t>(spec.output_size);
  const int channels = std::min(kPoolLanes, spec.channels - first_channel);
  for (std::size_t i = chunks.begin(chunk); i < chunks.end(chunk); ++i) {
    const RoiPlace& place = scratch.order[i];
    const Roi& roi = scratch.rois[i];
    float* const target = out.data() + (static_cast<std::size_t>(place.roi) *
                                            static_cast<std::size_t>(spec.channels) +
                                        static_cast<std::size_t>(first_channel)) *
                                           side * side;
    if (roi.columns == 0) {
      std::fill_n(target, static_cast<std::size_t>(channels) * side * side, 0.0F);
      continue;
    }
    const FeatureLevel& level = levels[static_cast<std::size_t>(place.level)];
    const std::ptrdiff_t plane = std::ptrdiff_t{level.height} * level.width;
    const std::span<const Bin> bins = bins_of(i, spec.output_size, scratch);
    run_kernel<PoolRoi>(
        RoiWindow{bins.first(side), bins.last(side),
                  scratch.weights[static_cast<std::size_t>(chunk)].data(), roi.first_column,
                  roi.columns},
        PlaneBlock{level.features.data() + first_channel * plane, plane, level.width, channels},
        buffer, target);
  }
}

}  // namespace

int roi_level(const Box& roi, int levels, const RoiAlignSpec& spec) {
  return pyramid_level(roi, levels, spec.first_level, spec.canonical_level, spec.canonical_size);
}

void order_rois(std::span<const Box> rois, int levels, const RoiAlignSpec& spec,
                std::vector<RoiPlace>& order) {
  constexpr float kLastRow = 1e6F;
  order.clear();
  for (std::size_t i = 0; i < rois.size(); ++i) {
    const float top = rois[i].y1;
    const int row = top > 0.0F ? static_cast<int>(std::min(top, kLastRow)) : 0;  // 0 for NaN
    order.push_back({roi_level(rois[i], levels, spec), row, static_cast<int>(i)});
  }
  std::ranges::sort(order, [](const RoiPlace& a, const RoiPlace& b) {
    return std::tie(a.level, a.row, a.roi) < std::tie(b.level, b.row, b.roi);
  });
}

void roi_align(std::span<const FeatureLevel> levels, std::span<const Box> rois,
               const RoiAlignSpec& spec, ThreadPool& pool, RoiAlignScratch& scratch,
               std::span<float> out) {
  check(levels, rois, spec, out.size());
  const Chunks chunks(rois.size());
  scratch.rois.resize(rois.size());
  scratch.bins.resize(rois.size() * static_cast<std::size_t>(spec.output_size) * 2);
  scratch.weights.resize(std::max(scratch.weights.size(), static_cast<std::size_t>(chunks.count)));
  order_rois(rois, static_cast<int>(levels.size()), spec, scratch.order);
  pool.parallel_for(0, chunks.count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t chunk = begin; chunk < end; ++chunk) {
      weigh_chunk(levels, rois, spec, chunks, chunk, scratch);
    }
  });

  // All RoIs of a block of channels, then the next block.
  const std::int64_t blocks = (spec.channels + kPoolLanes - 1) / kPoolLanes;
  int max_width = 0;
  for (const FeatureLevel& level : levels) {
    max_width = std::max(max_width, level.width);
  }
  pool.parallel_for(0, blocks * chunks.count, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> buffer;
    buffer.resize(std::max(buffer.size(), pool_scratch_size(max_width, spec.output_size)));
    for (std::int64_t part = begin; part < end; ++part) {
      pool_chunk(levels, spec, static_cast<int>(part / chunks.count) * kPoolLanes, chunks,
                 part % chunks.count, scratch, buffer.data(), out);
    }
  });
}

}  // namespace instseg
