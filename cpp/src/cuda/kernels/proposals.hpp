// Region proposals: the anchors of a level, ranked, and their boxes. A segment is a level of an
// image.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "cuda/kernels/detections.hpp"
#include "maths/proposals.hpp"

namespace instseg::cuda {

struct AnchorLevel {
  const float* scores;  // images x anchors x cells
  const float* deltas;  // images x 4 anchors x cells
  const float* cell_anchors;
  int anchors;  // per cell
  int height, width;
  float stride;

  INSTSEG_KERNEL int cells() const { return height * width; }
};

// Scores lie by cell anchor, row, column; anchors count by row, column, cell anchor.
struct AnchorScores {
  AnchorLevel levels[INSTSEG_CUDA_MAX_LEVELS];
  int level_count;

  INSTSEG_KERNEL const AnchorLevel& level(int segment) const {
    return levels[segment % level_count];
  }
  INSTSEG_KERNEL int size(int segment) const {
    return level(segment).cells() * level(segment).anchors;
  }
  INSTSEG_KERNEL bool item(int segment, int i, std::uint32_t& key, std::uint32_t& index) const {
    const AnchorLevel& map = level(segment);
    const float score = map.scores[std::int64_t{segment / level_count} * size(segment) + i];
    if (!(score > -std::numeric_limits<float>::infinity())) {
      return false;
    }
    key = falling_key(score);
    index = static_cast<std::uint32_t>(i % map.cells() * map.anchors + i / map.cells());
    return true;
  }
  INSTSEG_KERNEL Box decode(int segment, int anchor) const {
    const AnchorLevel& map = level(segment);
    const int cell = anchor / map.anchors;
    const int a = anchor % map.anchors;
    const std::int64_t first =
        (std::int64_t{segment / level_count} * map.anchors + a) * 4 * map.cells() + cell;
    float deltas[4];
    for (int i = 0; i < 4; ++i) {
      deltas[i] = map.deltas[first + std::int64_t{i} * map.cells()];
    }
    const Box box =
        anchor_at(load_box(map.cell_anchors, a), map.stride, cell % map.width, cell / map.width);
    return apply_deltas(box, deltas, {1.0F, 1.0F, 1.0F, 1.0F});
  }
};

// Boxes by the place in the ranked list, which the keys name from then on. A box that is too small
// becomes NaN: the suppression leaves it out. Grid: places, segments.
struct DecodeAnchorsBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  AnchorScores scores;
  RankedLists lists;
  ResizedSizes resized;
  float min_size;
  int capacity;
  float* boxes;  // segments x capacity x 4

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int segment = block.y;
    const auto size = resized.of[segment / scores.level_count];
    block.each([&](int thread) {
      const int i = block.x * kThreads + thread;
      if (i >= lists.counts[segment]) {
        return;
      }
      std::uint64_t& ranked = lists.keys[segment * lists.stride + i];
      Box box = clip_box(scores.decode(segment, ranked_index(ranked)), size.height, size.width);
      if (!is_large(box, min_size)) {
        box.x1 = std::numeric_limits<float>::quiet_NaN();
      }
      store_box(boxes, std::int64_t{segment} * capacity + i, box);
      ranked = ranked >> 32 << 32 | static_cast<std::uint64_t>(i);
    });
  }
};

// The levels one after the other, or the best of all where there are too many. Grid: boxes, images.
struct WriteProposalsBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  JoinedLists joined;
  RankedLists best;
  ClassBoxes boxes;
  int limit;  // of boxes; `best` has the best so many
  int capacity;
  std::int32_t* counts;
  float* out_boxes;
  float* out_scores;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int image = block.y;
    const int total = joined.size(image);
    const int count = total < limit ? total : limit;
    block.each([&](int thread) {
      const int i = block.x * kThreads + thread;
      if (i == 0) {
        counts[image] = count;
      }
      if (i >= count) {
        return;
      }
      std::uint64_t ranked = 0;
      const int entry = total > limit ? ranked_index(best.at(image, i)) : i;
      const int level = joined.locate(image, entry, ranked);
      const std::int64_t at = std::int64_t{image} * capacity + i;
      store_box(out_boxes, at, boxes.box(image * joined.per_group + level, ranked_index(ranked)));
      out_scores[at] = ranked_score(ranked);
    });
  }
};

}  // namespace instseg::cuda
