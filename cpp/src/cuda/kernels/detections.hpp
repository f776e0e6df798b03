// What is ranked on the way to detections, and how they are written.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cuda/kernels/masks.hpp"
#include "cuda/kernels/rank.hpp"
#include "ops/box_geometry.hpp"

namespace instseg::cuda {

INSTSEG_HOST_DEVICE inline Box load_box(const float* boxes, std::int64_t i) {
  const float* const box = boxes + i * 4;
  return {box[0], box[1], box[2], box[3]};
}

// Boxes per image, or per image and class. A segment is a class of an image.
struct ClassBoxes {
  const float* boxes;
  int per_segment;  // boxes
  int classes;
  bool own;

  INSTSEG_KERNEL Box box(int segment, int index) const {
    const std::int64_t row = own ? segment : segment / classes;
    return load_box(boxes, row * per_segment + index);
  }
};

// The candidates of a class: above the threshold, the best first.
struct ClassScores {
  const float* scores;         // segments x anchors
  const std::int32_t* counts;  // of anchors, by image; null: all
  float threshold;
  ClassBoxes boxes;

  INSTSEG_KERNEL int size(int segment) const {
    return counts == nullptr ? boxes.per_segment : counts[segment / boxes.classes];
  }
  INSTSEG_KERNEL bool item(int segment, int i, std::uint32_t& key, std::uint32_t& index) const {
    const float score = scores[std::int64_t{segment} * boxes.per_segment + i];
    if (!(score > threshold) || has_nan(boxes.box(segment, i))) {
      return false;
    }
    key = falling_key(score);
    index = static_cast<std::uint32_t>(i);
    return true;
  }
};

// Lists of several segments as one list per group of `per_group` segments, one after the other.
struct JoinedLists {
  RankedLists lists;
  const std::int64_t* offsets;  // segments + 1: of all lists, one after the other
  int per_group;

  INSTSEG_KERNEL int size(int group) const {
    return static_cast<int>(offsets[std::int64_t{group + 1} * per_group] -
                            offsets[std::int64_t{group} * per_group]);
  }
  // The segment, counted from the group's first, that holds entry i of the group, and the entry.
  INSTSEG_KERNEL int locate(int group, int i, std::uint64_t& ranked) const {
    const std::int64_t* const begin = offsets + std::int64_t{group} * per_group;
    const std::int64_t position = begin[0] + i;
    int low = 0;
    int high = per_group - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (begin[middle + 1] > position) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    ranked =
        lists.at(std::int64_t{group} * per_group + low, static_cast<int>(position - begin[low]));
    return low;
  }

  // By score; of equal ones, the lower segment and the place in its list.
  INSTSEG_KERNEL bool item(int group, int i, std::uint32_t& key, std::uint32_t& index) const {
    std::uint64_t ranked = 0;
    locate(group, i, ranked);
    key = static_cast<std::uint32_t>(ranked >> 32);
    index = static_cast<std::uint32_t>(i);
    return true;
  }
};

// Numbers of lists, for the sum that places them one after the other.
struct WidenCountsBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  const std::int32_t* counts;
  std::int64_t total;
  std::int64_t* out;  // total + 1; the last one is 0

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const std::int64_t i = std::int64_t{block.x} * kThreads + thread;
      if (i <= total) {
        out[i] = i < total ? counts[i] : 0;
      }
    });
  }
};

// From the network input to the original images.
struct ImagePlaces {
  struct Place {
    float scale_x, scale_y;
    int height, width;
  };
  Place of[INSTSEG_CUDA_MAX_IMAGES];
};

// box_in_image (ops/box_decode.hpp).
INSTSEG_KERNEL inline Box place_box(const Box& box, const ImagePlaces::Place& place) {
  return clip_box({box.x1 / place.scale_x, box.y1 / place.scale_y, box.x2 / place.scale_x,
                   box.y2 / place.scale_y},
                  static_cast<float>(place.height), static_cast<float>(place.width));
}

// The best of all classes, in the order of the result: by class, in a class by falling score.
struct ClassOrder {
  JoinedLists joined;
  RankedLists best;  // of each image; their indices count through the joined lists
  ClassBoxes boxes;
  bool drop_empty;  // boxes that are empty in the original image
  ImagePlaces places;

  INSTSEG_KERNEL int size(int image) const { return best.counts[image]; }
  INSTSEG_KERNEL bool item(int image, int i, std::uint32_t& key, std::uint32_t& index) const {
    std::uint64_t ranked = 0;
    const int class_id = joined.locate(image, ranked_index(best.at(image, i)), ranked);
    key = static_cast<std::uint32_t>(class_id);
    index = static_cast<std::uint32_t>(i);
    if (!drop_empty) {
      return true;
    }
    const Box box = place_box(boxes.box(image * boxes.classes + class_id, ranked_index(ranked)),
                              places.of[image]);
    return box.x2 > box.x1 && box.y2 > box.y1;
  }
};

INSTSEG_KERNEL inline void store_box(float* boxes, std::int64_t at, const Box& box) {
  if (boxes != nullptr) {
    float* const out = boxes + at * 4;
    out[0] = box.x1;
    out[1] = box.y1;
    out[2] = box.x2;
    out[3] = box.y2;
  }
}

// Grid: entries, images.
struct WriteDetectionsBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  ClassOrder source;
  RankedLists order;
  instseg_cuda_detections out;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int image = block.y;
    const int count = order.counts[image];
    block.each([&](int thread) {
      const int i = block.x * kThreads + thread;
      if (i == 0) {
        out.counts[image] = count;
      }
      if (i >= count) {
        return;
      }
      std::uint64_t ranked = 0;
      const std::uint64_t best = source.best.at(image, ranked_index(order.at(image, i)));
      const int class_id = source.joined.locate(image, ranked_index(best), ranked);
      const int index = ranked_index(ranked);
      const std::int64_t at = std::int64_t{image} * out.capacity + i;
      const Box box = source.boxes.box(image * source.boxes.classes + class_id, index);
      if (out.class_ids != nullptr) {
        out.class_ids[at] = class_id;
      }
      if (out.indices != nullptr) {
        out.indices[at] = index;
      }
      if (out.scores != nullptr) {
        out.scores[at] = ranked_score(ranked);
      }
      store_box(out.boxes, at, box);
      if (out.image_boxes != nullptr) {
        store_box(out.image_boxes, at, place_box(box, source.places.of[image]));
      }
    });
  }
};

// The scores of a box head by class, and the boxes of those above the threshold. A thread makes one
// RoI. Grid: RoIs, images.
struct HeadScoresBody {
  static constexpr int kThreads = 64;
  using Shared = NoShared;
  const float* logits[INSTSEG_CUDA_MAX_LEVELS];  // images x capacity x (classes + 1)
  int sets;
  const float* deltas;
  bool own_deltas;
  const float* rois;
  const std::int32_t* counts;
  int capacity, classes;
  std::array<float, 4> weights;
  ResizedSizes resized;
  float threshold;
  float* scores;  // images x classes x capacity
  float* boxes;   // as the scores, x 4; only those above the threshold are written

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int image = block.y;
    block.each([&](int thread) {
      const int roi = block.x * kThreads + thread;
      if (roi >= capacity || roi >= counts[image]) {
        return;
      }
      const std::int64_t row = std::int64_t{image} * capacity + roi;
      float largest[INSTSEG_CUDA_MAX_LEVELS];
      float total[INSTSEG_CUDA_MAX_LEVELS];
      for (int set = 0; set < sets; ++set) {
        measure(logits[set] + row * (classes + 1), largest[set], total[set]);
      }
      for (int c = 0; c < classes; ++c) {
        float sum = 0.0F;
        for (int set = 0; set < sets; ++set) {
          sum += std::exp(logits[set][row * (classes + 1) + c] - largest[set]) / total[set];
        }
        const float score = sum / static_cast<float>(sets);
        const std::int64_t at = (std::int64_t{image} * classes + c) * capacity + roi;
        scores[at] = score;
        if (score > threshold) {
          const std::int64_t delta = own_deltas ? row * classes + c : row;
          store_box(boxes, at,
                    clip_box(apply_deltas(load_box(rois, row), deltas + delta * 4, weights),
                             resized.of[image].height, resized.of[image].width));
        }
      }
    });
  }

  // Of a softmax: the largest logit, and the sum of the exponentials.
  INSTSEG_KERNEL void measure(const float* row, float& largest, float& total) const {
    largest = -std::numeric_limits<float>::infinity();
    total = 0.0F;
    for (int i = 0; i <= classes; ++i) {
      largest = largest < row[i] ? row[i] : largest;
    }
    for (int i = 0; i <= classes; ++i) {
      total += std::exp(row[i] - largest);
    }
  }
};

// refine_rois (ops/box_decode.hpp). Grid: RoIs, images.
struct RefineBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  const float* rois;
  const float* deltas;
  const std::int32_t* counts;
  int capacity;
  std::array<float, 4> weights;
  ResizedSizes resized;
  float* boxes;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int image = block.y;
    block.each([&](int thread) {
      const int roi = block.x * kThreads + thread;
      if (roi < capacity && roi < counts[image]) {
        const std::int64_t at = std::int64_t{image} * capacity + roi;
        store_box(boxes, at,
                  clip_box(apply_deltas(load_box(rois, at), deltas + at * 4, weights),
                           resized.of[image].height, resized.of[image].width));
      }
    });
  }
};

// Pairs of query and class, by falling logit.
struct QueryLogits {
  const float* logits;  // images x pairs
  int pairs;

  INSTSEG_KERNEL int size(int) const { return pairs; }
  INSTSEG_KERNEL bool item(int image, int i, std::uint32_t& key, std::uint32_t& index) const {
    const float logit = logits[std::int64_t{image} * pairs + i];
    if (std::isnan(logit)) {
      return false;
    }
    key = falling_key(logit);
    index = static_cast<std::uint32_t>(i);
    return true;
  }
};

// The pairs with a score above the threshold: they come first. One block per image.
struct WriteQueriesBody {
  static constexpr int kThreads = 256;
  struct Shared {
    int count;
  };
  RankedLists ranked;
  int classes, queries;
  const float* boxes;  // images x queries x 4
  float threshold;
  ImageSizes sizes;
  instseg_cuda_detections out;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int image = block.x;
    block.each([&](int thread) {
      if (thread == 0) {
        shared.count = 0;
      }
    });
    block.each([&](int thread) {
      for (int i = thread; i < ranked.counts[image]; i += kThreads) {
        const std::uint64_t pair = ranked.at(image, i);
        const float score = 1.0F / (1.0F + std::exp(-ranked_score(pair)));
        if (score > threshold) {
          write(image, i, ranked_index(pair), score);
          block.raise(shared.count, i + 1);
        }
      }
    });
    block.each([&](int thread) {
      if (thread == 0) {
        out.counts[image] = shared.count;
      }
    });
  }

  INSTSEG_KERNEL void write(int image, int i, int pair, float score) const {
    const std::int64_t at = std::int64_t{image} * out.capacity + i;
    const int query = pair / classes;
    if (out.class_ids != nullptr) {
      out.class_ids[at] = pair % classes;
    }
    if (out.indices != nullptr) {
      out.indices[at] = query;
    }
    if (out.scores != nullptr) {
      out.scores[at] = score;
    }
    const float* const centred = boxes + (std::int64_t{image} * queries + query) * 4;
    const auto width = static_cast<float>(sizes.of[image].width);
    const auto height = static_cast<float>(sizes.of[image].height);
    store_box(
        out.image_boxes, at,
        {(centred[0] - 0.5F * centred[2]) * width, (centred[1] - 0.5F * centred[3]) * height,
         (centred[0] + 0.5F * centred[2]) * width, (centred[1] + 0.5F * centred[3]) * height});
  }
};

}  // namespace instseg::cuda
