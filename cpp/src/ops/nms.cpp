#include "ops/nms.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "instseg/error.hpp"
#include "ops/box_geometry.hpp"
#include "ops/instruction_set.hpp"

namespace instseg {
namespace {

constexpr std::size_t kBlock = 64;

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "multiclass NMS: " + what);
}

void check_counts(int classes, std::size_t boxes) {
  if (classes < 0 || boxes > INT32_MAX) {
    fail(std::to_string(classes) + " classes, " + std::to_string(boxes) +
         " boxes; expected counts of 0 to " + std::to_string(INT32_MAX));
  }
}

void check_thresholds(const NmsSpec& spec) {
  if (std::isnan(spec.score_threshold) || std::isnan(spec.iou_threshold)) {
    fail("a threshold is NaN");
  }
}

void check(std::span<const Box> boxes, std::span<const float> scores, int classes,
           const NmsSpec& spec) {
  check_counts(classes, boxes.size());
  const std::size_t expected = boxes.size() * static_cast<std::size_t>(classes);
  if (scores.size() != expected) {
    fail(std::to_string(scores.size()) + " scores, expected " + std::to_string(expected) + " (" +
         std::to_string(classes) + " classes x " + std::to_string(boxes.size()) + " boxes)");
  }
  check_thresholds(spec);
}

void check_own_boxes(std::span<const Box> boxes, std::span<const float> scores, int classes,
                     const NmsSpec& spec) {
  check_counts(classes, boxes.size());
  if (scores.size() != boxes.size() ||
      (classes == 0 ? !boxes.empty() : boxes.size() % static_cast<std::size_t>(classes) != 0)) {
    fail(std::to_string(scores.size()) + " scores and " + std::to_string(boxes.size()) +
         " boxes, expected as many of each, the same number for each of " +
         std::to_string(classes) + " classes");
  }
  check_thresholds(spec);
}

// Most scores are below the threshold: whole blocks are passed over by one vectorised count.
void collect_candidates(std::span<const Box> boxes, std::span<const float> scores, int class_id,
                        float threshold, std::vector<Candidate>& candidates) {
  candidates.clear();
  for (std::size_t begin = 0; begin < scores.size(); begin += kBlock) {
    const std::span<const float> block =
        scores.subspan(begin, std::min(kBlock, scores.size() - begin));
    int above = 0;
    for (const float score : block) {
      above += score > threshold ? 1 : 0;
    }
    for (std::size_t i = 0; above > 0; ++i) {
      if (block[i] > threshold) {
        --above;
        if (!has_nan(boxes[begin + i])) {
          candidates.push_back({class_id, static_cast<int>(begin + i), block[i]});
        }
      }
    }
  }
}

bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) {
    return a.score > b.score;
  }
  return a.class_id != b.class_id ? a.class_id < b.class_id : a.anchor < b.anchor;
}

// The best `count` in order (all of them where count is negative).
void sort_best(std::vector<Candidate>& candidates, int count) {
  if (count >= 0 && candidates.size() > static_cast<std::size_t>(count)) {
    const auto end = candidates.begin() + count;
    std::nth_element(candidates.begin(), end, candidates.end(), better);
    candidates.erase(end, candidates.end());
  }
  std::sort(candidates.begin(), candidates.end(), better);
}

// Does a box of the kept ones overlap more than the threshold? The loop over a block has neither
// exits nor branches, so that it vectorises.
struct IsSuppressed {
  [[gnu::always_inline]] static bool run(const Box* box, float area, float iou_threshold,
                                         const NmsScratch* kept) {
    const std::size_t count = kept->kept_area.size();
    const float* x1 = kept->kept_x1.data();
    const float* y1 = kept->kept_y1.data();
    const float* x2 = kept->kept_x2.data();
    const float* y2 = kept->kept_y2.data();
    const float* areas = kept->kept_area.data();
    for (std::size_t begin = 0; begin < count; begin += kBlock) {
      const std::size_t end = std::min(begin + kBlock, count);
      int suppressing = 0;
      for (std::size_t i = begin; i < end; ++i) {
        suppressing +=
            suppresses({x1[i], y1[i], x2[i], y2[i]}, areas[i], *box, area, iou_threshold);
      }
      if (suppressing > 0) {
        return true;
      }
    }
    return false;
  }
};

void clear_kept(NmsScratch& scratch) {
  scratch.kept_x1.clear();
  scratch.kept_y1.clear();
  scratch.kept_x2.clear();
  scratch.kept_y2.clear();
  scratch.kept_area.clear();
}

// Keeps the box unless a kept one suppresses it.
bool try_keep(const Box& box, float iou_threshold, NmsScratch& scratch) {
  const float area = area_of(box);
  const NmsScratch* const kept = &scratch;
  // A few boxes take less time than what wide vectors need before and after them.
  const bool suppressed = kept->kept_area.size() < kBlock / 2
                              ? IsSuppressed::run(&box, area, iou_threshold, kept)
                              : run_kernel<IsSuppressed>(&box, area, iou_threshold, kept);
  if (suppressed) {
    return false;
  }
  scratch.kept_x1.push_back(box.x1);
  scratch.kept_y1.push_back(box.y1);
  scratch.kept_x2.push_back(box.x2);
  scratch.kept_y2.push_back(box.y2);
  scratch.kept_area.push_back(area);
  return true;
}

// One class: its candidates, sorted, then suppressed.
void add_detections(std::span<const Box> boxes, std::span<const float> scores, int class_id,
                    const NmsSpec& spec, NmsScratch& scratch, std::vector<Candidate>& detections) {
  collect_candidates(boxes, scores, class_id, spec.score_threshold, scratch.candidates);
  sort_best(scratch.candidates, spec.nms_top_k);
  clear_kept(scratch);
  for (const Candidate& candidate : scratch.candidates) {
    if (try_keep(boxes[static_cast<std::size_t>(candidate.anchor)], spec.iou_threshold, scratch)) {
      detections.push_back(candidate);
    }
  }
}

void cut_detections(int keep_top_k, std::vector<Candidate>& detections) {
  if (keep_top_k >= 0 && detections.size() > static_cast<std::size_t>(keep_top_k)) {
    sort_best(detections, keep_top_k);
    // Sorted by score over all classes; a stable sort by class keeps that order in each class.
    std::stable_sort(
        detections.begin(), detections.end(),
        [](const Candidate& a, const Candidate& b) { return a.class_id < b.class_id; });
  }
}

}  // namespace

std::vector<Candidate> multiclass_nms(std::span<const Box> boxes, std::span<const float> scores,
                                      int classes, const NmsSpec& spec, NmsScratch& scratch) {
  check(boxes, scores, classes, spec);
  std::vector<Candidate> detections;
  for (int class_id = 0; class_id < classes; ++class_id) {
    const std::size_t begin = static_cast<std::size_t>(class_id) * boxes.size();
    add_detections(boxes, scores.subspan(begin, boxes.size()), class_id, spec, scratch, detections);
  }
  cut_detections(spec.keep_top_k, detections);
  return detections;
}

std::vector<Candidate> multiclass_nms_own_boxes(std::span<const Box> boxes,
                                                std::span<const float> scores, int classes,
                                                const NmsSpec& spec, NmsScratch& scratch) {
  check_own_boxes(boxes, scores, classes, spec);
  std::vector<Candidate> detections;
  const std::size_t anchors = classes == 0 ? 0 : boxes.size() / static_cast<std::size_t>(classes);
  for (int class_id = 0; class_id < classes; ++class_id) {
    const std::size_t begin = static_cast<std::size_t>(class_id) * anchors;
    add_detections(boxes.subspan(begin, anchors), scores.subspan(begin, anchors), class_id, spec,
                   scratch, detections);
  }
  cut_detections(spec.keep_top_k, detections);
  return detections;
}

void suppress_sorted(std::span<const Box> boxes, float iou_threshold, int keep, NmsScratch& scratch,
                     std::vector<int>& kept) {
  kept.clear();
  clear_kept(scratch);
  const std::size_t limit = keep < 0 ? boxes.size() : static_cast<std::size_t>(keep);
  for (std::size_t i = 0; i < boxes.size() && kept.size() < limit; ++i) {
    if (try_keep(boxes[i], iou_threshold, scratch)) {
      kept.push_back(static_cast<int>(i));
    }
  }
}

}  // namespace instseg
