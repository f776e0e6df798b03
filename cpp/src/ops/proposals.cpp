#include "ops/proposals.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "instseg/error.hpp"
#include "maths/proposals.hpp"
#include "ops/box_geometry.hpp"

namespace instseg {
namespace {

using Ranked = ProposalScratch::Ranked;
using LevelScratch = ProposalScratch::Level;

constexpr std::int64_t kMaxAnchors = std::int64_t{1} << 28;
constexpr std::array<float, 4> kWeights{1.0F, 1.0F, 1.0F, 1.0F};

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "proposals: " + what);
}

bool positive(float value) { return value > 0.0F && std::isfinite(value); }

void check_map(int height, int width, std::size_t anchors_per_cell) {
  const bool negative = height < 0 || width < 0;
  if (negative || (anchors_per_cell > 0 &&
                   std::int64_t{height} * width > kMaxAnchors / std::int64_t(anchors_per_cell))) {
    fail("a map of " + std::to_string(width) + " x " + std::to_string(height) + " cells with " +
         std::to_string(anchors_per_cell) + " anchors each, expected at most " +
         std::to_string(kMaxAnchors) + " anchors");
  }
}

void check_level(const ProposalLevel& level) {
  check_map(level.height, level.width, level.cell_anchors.size());
  const std::size_t anchors = static_cast<std::size_t>(level.height) *
                              static_cast<std::size_t>(level.width) * level.cell_anchors.size();
  if (level.scores.size() != anchors || level.deltas.size() != anchors * 4) {
    fail(std::to_string(level.scores.size()) + " scores and " +
         std::to_string(level.deltas.size()) + " deltas, expected " + std::to_string(anchors) +
         " and " + std::to_string(anchors * 4) + " (" + std::to_string(level.cell_anchors.size()) +
         " x " + std::to_string(level.height) + " x " + std::to_string(level.width) + " anchors)");
  }
  if (!positive(level.stride)) {
    fail("a stride of " + std::to_string(level.stride) + ", expected a positive number");
  }
}

void check(std::span<const ProposalLevel> levels, float image_height, float image_width,
           const ProposalSpec& spec) {
  for (const ProposalLevel& level : levels) {
    check_level(level);
  }
  if (!positive(image_height) || !positive(image_width)) {
    fail("an image of " + std::to_string(image_width) + " x " + std::to_string(image_height) +
         ", expected a positive size");
  }
  if (std::isnan(spec.iou_threshold) || std::isnan(spec.min_size)) {
    fail("the IoU threshold or the minimum size is NaN");
  }
}

bool better(const Ranked& a, const Ranked& b) {
  return a.score != b.score ? a.score > b.score : a.anchor < b.anchor;
}

void sort_best(std::vector<Ranked>& ranked, int count) {
  if (count > 0 && ranked.size() > static_cast<std::size_t>(count)) {
    const auto end = ranked.begin() + count;
    std::nth_element(ranked.begin(), end, ranked.end(), better);
    ranked.erase(end, ranked.end());
  }
  std::sort(ranked.begin(), ranked.end(), better);
}

// Scores come by cell anchor, row, column; anchors count by row, column, cell anchor.
void rank_anchors(const ProposalLevel& level, int count, std::vector<Ranked>& ranked) {
  ranked.clear();
  ranked.reserve(level.scores.size());
  const auto cells = static_cast<std::size_t>(level.height) * static_cast<std::size_t>(level.width);
  const std::size_t per_cell = level.cell_anchors.size();
  for (std::size_t a = 0; a < per_cell; ++a) {
    const float* scores = level.scores.data() + a * cells;
    for (std::size_t cell = 0; cell < cells; ++cell) {
      if (scores[cell] > -std::numeric_limits<float>::infinity()) {
        ranked.push_back({scores[cell], static_cast<int>(cell * per_cell + a)});
      }
    }
  }
  sort_best(ranked, count);
}

Box decode(const ProposalLevel& level, int anchor) {
  const auto per_cell = static_cast<int>(level.cell_anchors.size());
  const int cell = anchor / per_cell;
  const auto a = static_cast<std::size_t>(anchor % per_cell);
  const auto cells = static_cast<std::size_t>(level.height) * static_cast<std::size_t>(level.width);
  std::array<float, 4> deltas{};
  for (std::size_t i = 0; i < 4; ++i) {
    deltas[i] = level.deltas[(a * 4 + i) * cells + static_cast<std::size_t>(cell)];
  }
  const Box box =
      anchor_at(level.cell_anchors[a], level.stride, cell % level.width, cell / level.width);
  return apply_deltas(box, deltas.data(), kWeights);
}

void propose(const ProposalLevel& level, float image_height, float image_width,
             const ProposalSpec& spec, LevelScratch& scratch) {
  rank_anchors(level, spec.pre_nms_top_k, scratch.ranked);
  scratch.boxes.clear();
  scratch.scores.clear();
  const float min_size = std::max(spec.min_size, 1.0F);
  for (const Ranked& ranked : scratch.ranked) {
    const Box box = clip_box(decode(level, ranked.anchor), image_height, image_width);
    if (is_large(box, min_size)) {
      scratch.boxes.push_back(box);
      scratch.scores.push_back(ranked.score);
    }
  }
  const int keep = spec.post_nms_top_k > 0 ? spec.post_nms_top_k : -1;
  suppress_sorted(scratch.boxes, spec.iou_threshold, keep, scratch.nms, scratch.kept);
}

// All levels, one after the other; `anchor` counts through.
void collect(std::span<const LevelScratch> levels, std::vector<Ranked>& collected) {
  collected.clear();
  int index = 0;
  for (const LevelScratch& level : levels) {
    for (const int kept : level.kept) {
      collected.push_back({level.scores[static_cast<std::size_t>(kept)], index++});
    }
  }
}

}  // namespace

std::vector<Box> cell_anchors(std::span<const float> sizes, std::span<const float> aspect_ratios) {
  std::vector<Box> anchors;
  for (const float size : sizes) {
    for (const float ratio : aspect_ratios) {
      if (!positive(size) || !positive(ratio)) {
        fail("an anchor of size " + std::to_string(size) + " and aspect ratio " +
             std::to_string(ratio) + ", expected positive numbers");
      }
      const double width = std::sqrt(double{size} * double{size} / double{ratio});
      const double height = double{ratio} * width;
      const auto half_width = static_cast<float>(width / 2.0);
      const auto half_height = static_cast<float>(height / 2.0);
      anchors.push_back({-half_width, -half_height, half_width, half_height});
    }
  }
  return anchors;
}

std::vector<Box> generate_anchors(std::span<const Box> cell_anchors, float stride, int height,
                                  int width) {
  check_map(height, width, cell_anchors.size());
  std::vector<Box> anchors;
  anchors.reserve(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
                  cell_anchors.size());
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      for (const Box& cell_anchor : cell_anchors) {
        anchors.push_back(anchor_at(cell_anchor, stride, column, row));
      }
    }
  }
  return anchors;
}

void generate_proposals(std::span<const ProposalLevel> levels, float image_height,
                        float image_width, const ProposalSpec& spec, ThreadPool& pool,
                        ProposalScratch& scratch, Proposals& proposals) {
  check(levels, image_height, image_width, spec);
  scratch.levels.resize(std::max(scratch.levels.size(), levels.size()));
  pool.parallel_for(
      0, static_cast<std::int64_t>(levels.size()), 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          propose(levels[i], image_height, image_width, spec, scratch.levels[i]);
        }
      });

  const std::span<const LevelScratch> done = std::span(scratch.levels).first(levels.size());
  collect(done, scratch.collected);
  std::vector<Box>& boxes = proposals.boxes;
  boxes.clear();
  for (const LevelScratch& level : done) {
    for (const int kept : level.kept) {
      boxes.push_back(level.boxes[static_cast<std::size_t>(kept)]);
    }
  }
  std::vector<Ranked>& collected = scratch.collected;
  if (spec.post_nms_top_k > 0 && collected.size() > static_cast<std::size_t>(spec.post_nms_top_k)) {
    sort_best(collected, spec.post_nms_top_k);
    std::vector<Box>& sorted = scratch.sorted;
    sorted.clear();
    for (const Ranked& ranked : collected) {
      sorted.push_back(boxes[static_cast<std::size_t>(ranked.anchor)]);
    }
    boxes.swap(sorted);
  }
  proposals.scores.clear();
  for (const Ranked& ranked : collected) {
    proposals.scores.push_back(ranked.score);
  }
}

}  // namespace instseg
