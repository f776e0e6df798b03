// The ops that choose detections.
#pragma once

#include "cuda/execution/call.hpp"
#include "cuda/kernels/detections.hpp"
#include "cuda/kernels/suppress.hpp"
#include "cuda/pipelines/checks.hpp"
#include "cuda/pipelines/rank.hpp"

namespace instseg::cuda {

// Lists of segments, one after the other: where each begins.
template <class Executor>
class ListOffsets {
 public:
  ListOffsets(std::int64_t segments, Workspace& workspace)
      : segments_(segments),
        counts_(workspace.take<std::int64_t>(segments + 1)),
        offsets_(workspace.take<std::int64_t>(segments + 1)),
        scratch_bytes_(Executor::sum_bytes(segments + 1)),
        scratch_(workspace.take<std::uint8_t>(static_cast<std::int64_t>(scratch_bytes_))) {}

  const std::int64_t* run(Executor& executor, const RankedLists& lists) {
    executor.launch("list offsets", {ceil_div(segments_ + 1, WidenCountsBody::kThreads)},
                    WidenCountsBody{lists.counts, segments_, counts_});
    executor.exclusive_sum(counts_, offsets_, segments_ + 1, scratch_, scratch_bytes_);
    return offsets_;
  }

 private:
  std::int64_t segments_;
  std::int64_t* counts_;
  std::int64_t* offsets_;
  std::size_t scratch_bytes_;
  std::uint8_t* scratch_;
};

// Per class: candidates, NMS. Over all classes: the best; then the order of the result.
template <class Executor>
class MulticlassNms {
 public:
  MulticlassNms(const char* op, int images, int classes, int anchors, const instseg_cuda_nms& nms,
                const instseg_cuda_detections& out, Workspace& workspace)
      : images_(images),
        nms_(nms),
        out_(out),
        per_class_(std::int64_t{images} * classes, anchors, nms.nms_top_k, workspace),
        offsets_(std::int64_t{images} * classes, workspace),
        best_(images, per_class_.capacity() * classes, nms.keep_top_k, workspace),
        order_(images, best_.capacity(), -1, workspace) {
    if (std::isnan(nms.score_threshold) || std::isnan(nms.iou_threshold)) {
      fail(op, "a threshold is NaN");
    }
    if (out.capacity < best_.capacity()) {
      fail(op, "a list of " + std::to_string(out.capacity) + " detections, expected at least " +
                   std::to_string(best_.capacity()));
    }
  }

  void run(Executor& executor, const ClassScores& scores, bool drop_empty,
           const ImagePlaces& places) {
    if (images_ == 0) {
      return;
    }
    const ClassBoxes& boxes = scores.boxes;
    const RankedLists& lists = per_class_.lists();
    per_class_.run(executor, "rank candidates", scores);
    executor.launch("suppress", {std::int64_t{images_} * boxes.classes},
                    SuppressBody<ClassBoxes>{boxes, nms_.iou_threshold,
                                             static_cast<int>(per_class_.capacity()), lists});
    const JoinedLists joined{lists, offsets_.run(executor, lists), boxes.classes};
    best_.run(executor, "rank detections", joined);
    const ClassOrder order{joined, best_.lists(), boxes, drop_empty, places};
    order_.run(executor, "order detections", order);
    executor.launch(
        "write detections",
        {std::max<std::int64_t>(1, ceil_div(best_.capacity(), WriteDetectionsBody::kThreads)),
         images_},
        WriteDetectionsBody{order, order_.lists(), out_});
  }

 private:
  int images_;
  instseg_cuda_nms nms_;
  instseg_cuda_detections out_;
  Ranking<Executor> per_class_;
  ListOffsets<Executor> offsets_;
  Ranking<Executor> best_;
  Ranking<Executor> order_;
};

struct MulticlassNmsOp {
  static constexpr const char* kName = "multiclass NMS";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_multiclass_nms& arguments,
                  Workspace& workspace) {
    check_images(kName, arguments.images, arguments.out.capacity);
    check_at_least(kName, "the number of classes", arguments.classes, 1);
    check_at_least(kName, "the number of boxes", arguments.anchors, 0);
    check_at_least(kName, "classes x boxes", std::int64_t{arguments.classes} * arguments.anchors,
                   0);
    instseg_cuda_detections out = arguments.out;
    out.image_boxes = nullptr;
    MulticlassNms<Executor> nms(kName, arguments.images, arguments.classes, arguments.anchors,
                                arguments.nms, out, workspace);
    if (!workspace.ready(kName)) {
      return;
    }
    const ClassBoxes boxes{arguments.boxes, arguments.anchors, arguments.classes, false};
    nms.run(executor, {arguments.scores, nullptr, arguments.nms.score_threshold, boxes}, false, {});
  }
};

struct BoxDetectionsOp {
  static constexpr const char* kName = "box detections";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_box_detections& arguments,
                  Workspace& workspace) {
    HeadScoresBody head = check(arguments);
    const std::int64_t rows =
        std::int64_t{arguments.images} * arguments.classes * arguments.capacity;
    head.scores = workspace.take<float>(rows);
    head.boxes = workspace.take<float>(rows * 4);
    MulticlassNms<Executor> nms(kName, arguments.images, arguments.classes, arguments.capacity,
                                arguments.nms, arguments.out, workspace);
    if (!workspace.ready(kName)) {
      return;
    }
    executor.launch("box head scores",
                    {ceil_div(arguments.capacity, HeadScoresBody::kThreads), arguments.images},
                    head);
    const ClassBoxes boxes{head.boxes, arguments.capacity, arguments.classes, true};
    nms.run(executor, {head.scores, arguments.counts, arguments.nms.score_threshold, boxes}, true,
            places(arguments));
  }

 private:
  static HeadScoresBody check(const instseg_cuda_box_detections& arguments) {
    check_images(kName, arguments.images, arguments.capacity);
    check_images(kName, arguments.images, arguments.out.capacity);
    check_at_least(kName, "the number of classes", arguments.classes, 1);
    check_at_least(kName, "classes x RoIs", std::int64_t{arguments.classes} * arguments.capacity,
                   0);
    if (arguments.sets < 1 || arguments.sets > INSTSEG_CUDA_MAX_LEVELS) {
      fail(kName, std::to_string(arguments.sets) + " sets of logits, expected 1 to " +
                      std::to_string(INSTSEG_CUDA_MAX_LEVELS));
    }
    HeadScoresBody head{};
    std::copy_n(arguments.logits, arguments.sets, head.logits);
    head.sets = arguments.sets;
    head.deltas = arguments.deltas;
    head.own_deltas = arguments.deltas_per_class != 0;
    head.rois = arguments.rois;
    head.counts = arguments.counts;
    head.capacity = arguments.capacity;
    head.classes = arguments.classes;
    std::copy_n(arguments.weights, 4, head.weights.begin());
    head.resized = read_resized_sizes(kName, arguments.resized_sizes, arguments.images);
    head.threshold = arguments.nms.score_threshold;
    return head;
  }

  static ImagePlaces places(const instseg_cuda_box_detections& arguments) {
    const ImageSizes sizes = read_image_sizes(kName, arguments.image_sizes, arguments.images);
    ImagePlaces places{};
    for (int i = 0; i < arguments.images; ++i) {
      const auto [height, width] = sizes.of[i];
      places.of[i] = {arguments.resized_sizes[2 * i + 1] / static_cast<float>(width),
                      arguments.resized_sizes[2 * i] / static_cast<float>(height), height, width};
    }
    return places;
  }
};

struct RefineRoisOp {
  static constexpr const char* kName = "refine RoIs";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_refine_rois& arguments,
                  Workspace& workspace) {
    check_images(kName, arguments.images, arguments.capacity);
    RefineBody body{arguments.rois,
                    arguments.deltas,
                    arguments.counts,
                    arguments.capacity,
                    {},
                    read_resized_sizes(kName, arguments.resized_sizes, arguments.images),
                    arguments.boxes};
    std::copy_n(arguments.weights, 4, body.weights.begin());
    if (workspace.ready(kName)) {
      executor.launch("refine RoIs",
                      {ceil_div(arguments.capacity, RefineBody::kThreads), arguments.images}, body);
    }
  }
};

struct QuerySelectOp {
  static constexpr const char* kName = "query select";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_query_select& arguments,
                  Workspace& workspace) {
    check_images(kName, arguments.images, arguments.out.capacity);
    check_at_least(kName, "the number of queries", arguments.queries, 0);
    check_at_least(kName, "the number of classes", arguments.classes, 1);
    const std::int64_t pairs = std::int64_t{arguments.queries} * arguments.classes;
    check_at_least(kName, "queries x classes", pairs, 0);
    const ImageSizes sizes = read_image_sizes(kName, arguments.image_sizes, arguments.images);
    if (std::isnan(arguments.score_threshold)) {
      fail(kName, "the score threshold is NaN");
    }
    Ranking<Executor> ranking(arguments.images, pairs, arguments.top_k, workspace);
    if (arguments.out.capacity < ranking.capacity()) {
      fail(kName, "a list of " + std::to_string(arguments.out.capacity) +
                      " detections, expected at least " + std::to_string(ranking.capacity()));
    }
    if (!workspace.ready(kName)) {
      return;
    }
    ranking.run(executor, "rank queries", QueryLogits{arguments.logits, static_cast<int>(pairs)});
    executor.launch(
        "write queries", {arguments.images},
        WriteQueriesBody{ranking.lists(), arguments.classes, arguments.queries, arguments.boxes,
                         arguments.score_threshold, sizes, arguments.out});
  }
};

template <class Executor>
void add_detections(instseg_cuda_ops& ops) {
  ops.multiclass_nms = call<Executor, MulticlassNmsOp, instseg_cuda_multiclass_nms>;
  ops.box_detections = call<Executor, BoxDetectionsOp, instseg_cuda_box_detections>;
  ops.query_select = call<Executor, QuerySelectOp, instseg_cuda_query_select>;
  ops.refine_rois = call<Executor, RefineRoisOp, instseg_cuda_refine_rois>;
}

}  // namespace instseg::cuda
