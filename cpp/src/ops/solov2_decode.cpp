#include "ops/solov2_decode.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>

#include "instseg/error.hpp"
#include "ops/instruction_set.hpp"
#include "ops/mask_check.hpp"
#include "ops/mask_logits.hpp"
#include "ops/sigmoid.hpp"

namespace instseg {
namespace {

constexpr const char* kWhere = "SOLOv2 decode";

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, std::string(kWhere) + ": " + what);
}

void check_level(const Solov2Level& level, const Solov2Spec& spec) {
  if (level.grid < 1 || level.grid > kMaxSolov2Grid) {
    fail("a grid of " + std::to_string(level.grid) + ", expected 1 to " +
         std::to_string(kMaxSolov2Grid));
  }
  const std::size_t cells =
      static_cast<std::size_t>(level.grid) * static_cast<std::size_t>(level.grid);
  if (level.scores.size() != cells * static_cast<std::size_t>(spec.classes) ||
      level.kernels.size() != cells * static_cast<std::size_t>(spec.channels)) {
    fail(std::to_string(level.scores.size()) + " scores and " +
         std::to_string(level.kernels.size()) + " kernel values, expected " +
         std::to_string(spec.classes) + " and " + std::to_string(spec.channels) + " for each of " +
         std::to_string(cells) + " grid cells");
  }
}

void check(std::span<const Solov2Level> levels, std::span<const float> features,
           const Solov2Geometry& geometry, const Solov2Spec& spec) {
  if (spec.classes < 0 || spec.channels < 1 || spec.channels > kMaxSolov2Channels) {
    fail(std::to_string(spec.classes) + " classes and " + std::to_string(spec.channels) +
         " channels, expected 0 or more and 1 to " + std::to_string(kMaxSolov2Channels));
  }
  for (const Solov2Level& level : levels) {
    check_level(level, spec);
  }
  check_size(kWhere, "the image", geometry.image_width, geometry.image_height);
  check_size(kWhere, "the resized image", geometry.resized_width, geometry.resized_height);
  check_size(kWhere, "a feature map", geometry.feature_width, geometry.feature_height);
  if (geometry.resized_height > geometry.feature_height * kSolov2FeatureStride ||
      geometry.resized_width > geometry.feature_width * kSolov2FeatureStride) {
    fail("a resized image of " + std::to_string(geometry.resized_width) + " x " +
         std::to_string(geometry.resized_height) + " for features of " +
         std::to_string(geometry.feature_width) + " x " + std::to_string(geometry.feature_height) +
         ", expected at most " + std::to_string(kSolov2FeatureStride) + " times their size");
  }
  const std::size_t expected = static_cast<std::size_t>(spec.channels) *
                               static_cast<std::size_t>(geometry.feature_height) *
                               static_cast<std::size_t>(geometry.feature_width);
  if (features.size() != expected) {
    fail(std::to_string(features.size()) + " feature values, expected " + std::to_string(expected) +
         " (" + std::to_string(spec.channels) + " x " + std::to_string(geometry.feature_height) +
         " x " + std::to_string(geometry.feature_width) + ")");
  }
  if (std::isnan(spec.score_threshold) || std::isnan(spec.result_threshold) ||
      !(spec.mask_threshold >= 0.0F && spec.mask_threshold <= 1.0F)) {
    fail("a threshold is NaN, or the mask threshold is not in [0, 1]");
  }
}

// Candidates, and the kernels that have one.
void select_candidates(std::span<const Solov2Level> levels, const Solov2Spec& spec,
                       Solov2Scratch& scratch) {
  scratch.cells.clear();
  scratch.entries.clear();
  const auto classes = static_cast<std::size_t>(spec.classes);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const Solov2Level& level = levels[i];
    for (int cell = 0; cell < level.grid * level.grid; ++cell) {
      const float* scores = level.scores.data() + static_cast<std::size_t>(cell) * classes;
      bool any = false;
      for (std::size_t c = 0; c < classes; ++c) {
        if (scores[c] > spec.score_threshold) {
          if (!any) {
            scratch.cells.push_back({static_cast<int>(i), cell});
            any = true;
          }
          scratch.entries.push_back(
              {static_cast<int>(scratch.cells.size()) - 1, static_cast<int>(c), scores[c]});
        }
      }
    }
  }
}

const float* kernel_at(std::span<const Solov2Level> levels, const Solov2Spec& spec,
                       const Solov2Scratch::KernelCell& at) {
  return levels[static_cast<std::size_t>(at.level)].kernels.data() +
         std::ptrdiff_t{at.cell} * spec.channels;
}

// The kernels of all candidates as rows.
void gather_kernels(std::span<const Solov2Level> levels, const Solov2Spec& spec,
                    Solov2Scratch& scratch) {
  scratch.kernels.resize(static_cast<int>(scratch.cells.size()), spec.channels);
  for (std::size_t row = 0; row < scratch.cells.size(); ++row) {
    scratch.kernels.set_row(static_cast<int>(row), kernel_at(levels, spec, scratch.cells[row]));
  }
}

// What is known of a mask at feature resolution from some of its cells.
struct Part {
  int area = 0;
  double sum = 0.0;  // of the probabilities of set cells
};

// Sets the bits of up to 64 logits.
struct Binarise {
  [[gnu::always_inline]] static Part run(const float* logits, std::size_t count, float threshold,
                                         std::uint64_t* word) {
    Part part;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < count; ++i) {
      bits |= std::uint64_t{logits[i] > threshold} << i;
    }
    *word = bits;
    if (bits == 0) {
      return part;
    }
    std::array<float, 64> probabilities;
    std::copy_n(logits, count, probabilities.begin());
    Sigmoid::run(probabilities.data(), count);
    float sum = 0.0F;
    for (std::size_t i = 0; i < count; ++i) {
      const bool set = logits[i] > threshold;
      part.area += set ? 1 : 0;
      sum += set ? probabilities[i] : 0.0F;
    }
    part.sum = double{sum};
    return part;
  }
};

// Bits, area and sum of probabilities of each kernel's mask.
void convolve(std::span<const float> features, int cells, float threshold, ThreadPool& pool,
              Solov2Scratch& scratch) {
  static_assert(kProductColumns % 64 == 0);
  const auto rows = static_cast<std::size_t>(scratch.kernels.rows());
  const auto words = (static_cast<std::size_t>(cells) + 63) / 64;
  const auto blocks = (static_cast<std::size_t>(cells) + kProductColumns - 1) / kProductColumns;
  scratch.bits.resize(rows * words);
  scratch.part_areas.assign(blocks * rows, 0);
  scratch.part_sums.assign(blocks * rows, 0.0);
  for_each_product(
      scratch.kernels, features, cells, pool,
      [&](int row, int first, std::span<const float> logits) {
        const auto kernel = static_cast<std::size_t>(row);
        const std::size_t at = static_cast<std::size_t>(first / kProductColumns) * rows + kernel;
        std::uint64_t* word = scratch.bits.data() + kernel * words + first / 64;
        for (std::size_t from = 0; from < logits.size(); from += 64, ++word) {
          const std::size_t count = std::min<std::size_t>(64, logits.size() - from);
          const Part part = run_kernel<Binarise>(logits.data() + from, count, threshold, word);
          scratch.part_areas[at] += part.area;
          scratch.part_sums[at] += part.sum;
        }
      });
}

// Fills the inputs of the matrix NMS with the candidates that stay. Scores are lowered by the mean
// probability of the set cells.
void score_candidates(std::span<const Solov2Level> levels, Solov2Scratch& scratch) {
  const std::size_t kernels = scratch.cells.size();
  const std::size_t blocks = kernels == 0 ? 0 : scratch.part_areas.size() / kernels;
  scratch.areas.assign(kernels, 0);
  std::vector<double>& sums = scratch.sums;
  sums.assign(kernels, 0.0);
  for (std::size_t block = 0; block < blocks; ++block) {
    for (std::size_t kernel = 0; kernel < kernels; ++kernel) {
      scratch.areas[kernel] += scratch.part_areas[block * kernels + kernel];
      sums[kernel] += scratch.part_sums[block * kernels + kernel];
    }
  }
  scratch.masks.clear();
  scratch.entry_areas.clear();
  scratch.class_ids.clear();
  scratch.scores.clear();
  for (const Solov2Scratch::Entry& entry : scratch.entries) {
    const auto kernel = static_cast<std::size_t>(entry.kernel);
    const int area = scratch.areas[kernel];
    const int minimum = levels[static_cast<std::size_t>(scratch.cells[kernel].level)].minimum_area;
    if (area > std::max(minimum, 0)) {
      scratch.masks.push_back(entry.kernel);
      scratch.entry_areas.push_back(area);
      scratch.class_ids.push_back(entry.class_id);
      scratch.scores.push_back(entry.score * static_cast<float>(sums[kernel] / area));
    }
  }
}

// Probabilities of cells, bounded, for rendering.
void fill_probabilities(const float* logits, int count, float* out) {
  std::copy_n(logits, count, out);
  sigmoid({out, static_cast<std::size_t>(count)});
}

// Where the kept kernels' masks are, which the bits tell. Only there, and around, logits are
// needed.
void find_windows(std::span<const Solov2Level> levels, const Solov2Geometry& geometry,
                  const Solov2Spec& spec, Solov2Scratch& scratch) {
  const int height = geometry.feature_height;
  const int width = geometry.feature_width;
  compose_axis({width, width * kSolov2FeatureStride, geometry.resized_width, geometry.image_width},
               {0, geometry.resized_width}, scratch.x);
  compose_axis(
      {height, height * kSolov2FeatureStride, geometry.resized_height, geometry.image_height},
      {0, geometry.resized_height}, scratch.y);
  const std::size_t words =
      (static_cast<std::size_t>(height) * static_cast<std::size_t>(width) + 63) / 64;
  scratch.windows.clear();
  scratch.products.clear();
  std::size_t cells = 0;
  for (const int kept : scratch.kept_kernels) {
    const auto kernel = static_cast<std::size_t>(kept);
    const CellBounds set =
        bounds_of_bits(std::span(scratch.bits).subspan(kernel * words, words), width);
    const Solov2Scratch::Window& window =
        scratch.windows.emplace_back(narrow(scratch.x, geometry.image_width, set.x),
                                     narrow(scratch.y, geometry.image_height, set.y));
    scratch.products.push_back(
        {kernel_at(levels, spec, scratch.cells[kernel]), {window.x.cells, window.y.cells}, cells});
    cells += scratch.products.back().cells.cells();
  }
  scratch.logits.resize(cells);
}

// Renders each kept kernel's mask once.
void render(float threshold, ThreadPool& pool, Solov2Scratch& scratch) {
  scratch.rendered.resize(scratch.kept_kernels.size());
  pool.parallel_for(
      0, static_cast<std::int64_t>(scratch.kept_kernels.size()), 1,
      [&](std::int64_t begin, std::int64_t end) {
        thread_local RenderScratch buffers;
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          const Solov2Scratch::Window& window = scratch.windows[i];
          const int columns = window.x.cells.size();
          const float* const logits = scratch.logits.data() + scratch.products[i].offset;
          scratch.rendered[i] = crop_to_bounds(
              render_mask(window.x, window.y, threshold, buffers, [&](int row, float* out) {
                fill_probabilities(logits + std::ptrdiff_t{row - window.y.cells.begin} * columns,
                                   columns, out);
              }));
        }
      });
}

}  // namespace

std::vector<Solov2Instance> decode_solov2(std::span<const Solov2Level> levels,
                                          std::span<const float> features,
                                          const Solov2Geometry& geometry, const Solov2Spec& spec,
                                          ThreadPool& pool, Solov2Scratch& scratch) {
  check(levels, features, geometry, spec);
  const int cells = geometry.feature_height * geometry.feature_width;
  select_candidates(levels, spec, scratch);
  gather_kernels(levels, spec, scratch);
  convolve(features, cells, logit_of(spec.mask_threshold), pool, scratch);
  score_candidates(levels, scratch);
  std::vector<RankedMask> kept = matrix_nms(
      {scratch.bits, (static_cast<std::size_t>(cells) + 63) / 64}, scratch.masks,
      scratch.entry_areas, scratch.class_ids, scratch.scores, spec.nms, pool, scratch.nms);
  std::erase_if(kept,
                [&](const RankedMask& mask) { return !(mask.score > spec.result_threshold); });

  // Several classes may share a kernel; its mask is rendered once.
  scratch.slots.assign(scratch.cells.size(), -1);
  scratch.kept_kernels.clear();
  for (const RankedMask& mask : kept) {
    const int kernel = scratch.masks[static_cast<std::size_t>(mask.mask)];
    int& slot = scratch.slots[static_cast<std::size_t>(kernel)];
    if (slot < 0) {
      slot = static_cast<int>(scratch.kept_kernels.size());
      scratch.kept_kernels.push_back(kernel);
    }
  }
  find_windows(levels, geometry, spec, scratch);
  multiply_windows(scratch.products, spec.channels, features, geometry.feature_height,
                   geometry.feature_width, pool, scratch.logits);
  render(spec.mask_threshold, pool, scratch);

  std::vector<Solov2Instance> instances;
  for (const RankedMask& mask : kept) {
    const auto entry = static_cast<std::size_t>(mask.mask);
    const int kernel = scratch.masks[entry];
    const PackedMask& packed =
        scratch.rendered[static_cast<std::size_t>(scratch.slots[static_cast<std::size_t>(kernel)])];
    instances.push_back({scratch.class_ids[entry], mask.score, packed.bounds(), packed});
  }
  return instances;
}

}  // namespace instseg
