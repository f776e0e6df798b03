#include "families/device_roi_head.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "families/roi_chunks.hpp"

namespace instseg {

DeviceNumbers::DeviceNumbers(const CudaDevice& device, CudaQueue& queue, int last)
    : memory_(device, CudaPlace::device) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(last) + 1);
  std::iota(numbers.begin(), numbers.end(), 0);
  const std::size_t bytes = numbers.size() * sizeof(std::int32_t);
  std::byte* const data = memory_.reserve(bytes);
  queue.copy(data, numbers.data(), bytes);
  queue.wait();
  numbers_ = reinterpret_cast<const std::int32_t*>(data);
}

std::size_t DeviceRoiHead::roi_floats() const {
  const auto bins = static_cast<std::size_t>(spec_.output_size);
  return static_cast<std::size_t>(spec_.channels) * bins * bins;
}

void DeviceRoiHead::enqueue(CudaQueue& queue, std::span<const DeviceMap> maps,
                            const DeviceRois& rois, const DeviceNumbers& numbers,
                            CudaMemory& features, std::span<const DeviceRows> rows) {
  const auto total = static_cast<std::size_t>(
      std::accumulate(rois.counts.begin(), rois.counts.end(), std::int64_t{0}));
  if (total == 0) {
    return;
  }
  const RoiChunks chunks = plan_roi_chunks(total, roi_floats() * sizeof(float));
  const std::array<std::int64_t, 4> shape{static_cast<std::int64_t>(chunks.size), spec_.channels,
                                          spec_.output_size, spec_.output_size};
  const std::size_t bytes = chunks.size * roi_floats() * sizeof(float);
  if (bytes > features.capacity()) {
    queue.wait();  // the head before may still read the smaller memory
  }
  auto* const input = reinterpret_cast<float*>(features.reserve(bytes));
  for (std::size_t first = 0; first < total; first += chunks.rois) {
    const std::size_t count = std::min(chunks.rois, total - first);
    find_pieces(rois.counts, first, count);
    for (const Piece& piece : pieces_) {
      const bool last = &piece == &pieces_.back();
      cut(queue, maps, rois, numbers, piece, last ? static_cast<int>(chunks.size - count) : 0,
          input);
    }
    const std::span<const TensorView> outputs =
        inference_.enqueue(std::array{TensorView{input, shape, MemoryKind::device}});
    for (const Piece& piece : pieces_) {
      const std::size_t row =
          static_cast<std::size_t>(piece.image) * static_cast<std::size_t>(rois.capacity) +
          static_cast<std::size_t>(piece.first);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::size_t floats = rows[i].row_floats;
        queue.copy(rows[i].data + row * floats,
                   static_cast<const float*>(outputs[i].data) + piece.at * floats,
                   static_cast<std::size_t>(piece.count) * floats * sizeof(float));
      }
    }
  }
}

void DeviceRoiHead::find_pieces(std::span<const std::int32_t> counts, std::size_t first,
                                std::size_t count) {
  pieces_.clear();
  const std::size_t end = first + count;
  std::size_t image_begin = 0;
  for (std::size_t image = 0; image < counts.size(); ++image) {
    const std::size_t image_end = image_begin + static_cast<std::size_t>(counts[image]);
    const std::size_t begin = std::max(first, image_begin);
    const std::size_t stop = std::min(end, image_end);
    if (begin < stop) {
      pieces_.push_back({static_cast<int>(image), static_cast<int>(begin - image_begin),
                         static_cast<int>(stop - begin), begin - first});
    }
    image_begin = image_end;
  }
}

void DeviceRoiHead::cut(CudaQueue& queue, std::span<const DeviceMap> maps, const DeviceRois& rois,
                        const DeviceNumbers& numbers, const Piece& piece, int spare,
                        float* features) {
  std::array<instseg_cuda_feature_level, INSTSEG_CUDA_MAX_LEVELS> levels{};
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const std::int64_t image_floats = std::int64_t{spec_.channels} * maps[i].height * maps[i].width;
    levels[i] = {maps[i].features + piece.image * image_floats, maps[i].height, maps[i].width,
                 maps[i].stride};
  }
  instseg_cuda_roi_align align{};
  align.levels = levels.data();
  align.level_count = static_cast<std::int32_t>(maps.size());
  align.images = 1;
  align.channels = spec_.channels;
  align.output_size = spec_.output_size;
  align.sampling_ratio = spec_.sampling_ratio;
  align.aligned = spec_.aligned ? 1 : 0;
  align.first_level = spec_.first_level;
  align.canonical_level = spec_.canonical_level;
  align.canonical_size = spec_.canonical_size;
  align.rois = rois.boxes + (std::int64_t{piece.image} * rois.capacity + piece.first) * 4;
  align.counts = numbers.at(piece.count);
  align.capacity = piece.count + spare;
  align.out_type = INSTSEG_FLOAT32;
  align.out = features + piece.at * roi_floats();
  queue.run("roi_align", &instseg_cuda_ops::roi_align, align);
}

}  // namespace instseg
