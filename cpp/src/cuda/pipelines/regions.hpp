// The ops on regions: proposals and RoIAlign.
#pragma once

#include "cuda/kernels/proposals.hpp"
#include "cuda/kernels/roi_align.hpp"
#include "cuda/pipelines/detections.hpp"

namespace instseg::cuda {

struct ProposalsOp {
  static constexpr const char* kName = "proposals";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_proposals& arguments,
                  Workspace& workspace) {
    std::int64_t most = 0;  // anchors of a level
    const AnchorScores scores = check(arguments, most);
    const ResizedSizes resized =
        read_resized_sizes(kName, arguments.resized_sizes, arguments.images);
    const std::int64_t segments = std::int64_t{arguments.images} * arguments.level_count;
    Ranking<Executor> ranking(
        segments, most, arguments.pre_nms_top_k > 0 ? arguments.pre_nms_top_k : -1, workspace);
    const bool limited = arguments.post_nms_top_k > 0;
    const std::int64_t per_level =
        limited ? std::min<std::int64_t>(ranking.capacity(), arguments.post_nms_top_k)
                : ranking.capacity();
    const std::int64_t joined_items = per_level * arguments.level_count;
    auto* const boxes = workspace.take<float>(segments * ranking.capacity() * 4);
    ListOffsets<Executor> offsets(segments, workspace);
    Ranking<Executor> best(arguments.images, joined_items, limited ? arguments.post_nms_top_k : 0,
                           workspace);
    const std::int64_t limit = limited ? best.capacity() : joined_items;
    if (arguments.capacity < limit) {
      fail(kName, "a list of " + std::to_string(arguments.capacity) + " boxes, expected at least " +
                      std::to_string(limit));
    }
    if (!workspace.ready(kName) || arguments.images == 0) {
      return;
    }
    ranking.run(executor, "rank anchors", scores);
    const auto capacity = static_cast<int>(ranking.capacity());
    executor.launch("decode anchors", {ceil_div(capacity, DecodeAnchorsBody::kThreads), segments},
                    DecodeAnchorsBody{scores, ranking.lists(), resized,
                                      std::max(arguments.min_size, 1.0F), capacity, boxes});
    const ClassBoxes decoded{boxes, capacity, arguments.level_count, true};
    executor.launch("suppress proposals", {segments},
                    SuppressBody<ClassBoxes>{decoded, arguments.iou_threshold,
                                             static_cast<int>(per_level), ranking.lists()});
    const JoinedLists joined{ranking.lists(), offsets.run(executor, ranking.lists()),
                             arguments.level_count};
    if (limited) {
      best.run(executor, "rank proposals", joined);
    }
    executor.launch("write proposals",
                    {std::max<std::int64_t>(1, ceil_div(limit, WriteProposalsBody::kThreads)),
                     arguments.images},
                    WriteProposalsBody{joined, best.lists(), decoded, static_cast<int>(limit),
                                       arguments.capacity, arguments.counts, arguments.boxes,
                                       arguments.scores});
  }

 private:
  static AnchorScores check(const instseg_cuda_proposals& arguments, std::int64_t& most) {
    constexpr std::int64_t kMaxAnchors = std::int64_t{1} << 28;
    check_images(kName, arguments.images, arguments.capacity);
    if (arguments.level_count < 1 || arguments.level_count > INSTSEG_CUDA_MAX_LEVELS) {
      fail(kName, std::to_string(arguments.level_count) + " levels, expected 1 to " +
                      std::to_string(INSTSEG_CUDA_MAX_LEVELS));
    }
    if (std::isnan(arguments.iou_threshold) || std::isnan(arguments.min_size)) {
      fail(kName, "the IoU threshold or the minimum size is NaN");
    }
    AnchorScores scores{};
    scores.level_count = arguments.level_count;
    for (int i = 0; i < arguments.level_count; ++i) {
      const instseg_cuda_proposal_level& level = arguments.levels[i];
      const std::int64_t cells = std::int64_t{level.height} * level.width;
      if (level.height < 0 || level.width < 0 || level.anchors < 0 ||
          (level.anchors > 0 && cells > kMaxAnchors / level.anchors)) {
        fail(kName, "a map of " + std::to_string(level.width) + " x " +
                        std::to_string(level.height) + " cells with " +
                        std::to_string(level.anchors) + " anchors each, expected at most " +
                        std::to_string(kMaxAnchors) + " anchors");
      }
      if (!(level.stride > 0.0F) || !std::isfinite(level.stride)) {
        fail(kName, "a stride of " + std::to_string(level.stride) + ", expected a positive number");
      }
      scores.levels[i] = {level.scores, level.deltas, level.cell_anchors, level.anchors,
                          level.height, level.width,  level.stride};
      most = std::max(most, cells * level.anchors);
    }
    return scores;
  }
};

struct RoiAlignOp {
  static constexpr const char* kName = "RoIAlign";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_roi_align& arguments,
                  Workspace& workspace) {
    RoiAlignSettings settings = check(arguments);
    const std::int64_t rois = std::int64_t{arguments.images} * arguments.capacity;
    settings.roi_levels = workspace.take<int>(rois);
    settings.bins = workspace.take<RoiBin>(rois * 2 * settings.side);
    settings.weights = workspace.take<float>(rois * settings.weights_per_roi);
    if (!workspace.ready(kName)) {
      return;
    }
    executor.launch("weigh RoIs", {arguments.capacity, arguments.images}, WeighRoisBody{settings});
    if (arguments.out_type == INSTSEG_FLOAT16) {
      pool<Half>(executor, arguments, settings);
    } else {
      pool<float>(executor, arguments, settings);
    }
  }

 private:
  template <class Out, class Executor>
  static void pool(Executor& executor, const instseg_cuda_roi_align& arguments,
                   const RoiAlignSettings& settings) {
    using Body = PoolRoisBody<Out>;
    const std::int64_t values = std::int64_t{settings.channels} * settings.side * settings.side;
    executor.launch("pool RoIs",
                    {ceil_div(values, Body::kValuesPerBlock), arguments.capacity, arguments.images},
                    Body{settings, static_cast<Out*>(arguments.out)});
  }

  static void check_numbers(const instseg_cuda_roi_align& arguments) {
    constexpr int kMaxBins = 64;
    constexpr int kMaxSamples = 64;
    check_images(kName, arguments.images, arguments.capacity);
    check_at_least(kName, "the number of channels", arguments.channels, 1);
    if (arguments.level_count < 1 || arguments.level_count > INSTSEG_CUDA_MAX_LEVELS) {
      fail(kName, std::to_string(arguments.level_count) + " feature maps, expected 1 to " +
                      std::to_string(INSTSEG_CUDA_MAX_LEVELS));
    }
    if (arguments.output_size < 1 || arguments.output_size > kMaxBins ||
        arguments.sampling_ratio < 0 || arguments.sampling_ratio > kMaxSamples) {
      fail(kName, std::to_string(arguments.output_size) + " bins a side and " +
                      std::to_string(arguments.sampling_ratio) + " samples, expected 1 to " +
                      std::to_string(kMaxBins) + " and 0 to " + std::to_string(kMaxSamples));
    }
    check_at_least(kName, "channels x bins",
                   std::int64_t{arguments.channels} * arguments.output_size * arguments.output_size,
                   1);
    if (arguments.out_type != INSTSEG_FLOAT32 && arguments.out_type != INSTSEG_FLOAT16) {
      fail(kName, "an output of type " + std::to_string(arguments.out_type) +
                      ", expected float32 or float16");
    }
  }

  static RoiAlignSettings check(const instseg_cuda_roi_align& arguments) {
    check_numbers(arguments);
    RoiAlignSettings settings{};
    int height = 0;
    int width = 0;
    for (int i = 0; i < arguments.level_count; ++i) {
      const instseg_cuda_feature_level& level = arguments.levels[i];
      check_pixels(kName, "a feature map", level.height, level.width);
      if (!(level.stride > 0.0F) || !std::isfinite(level.stride)) {
        fail(kName, "a stride of " + std::to_string(level.stride) + ", expected a positive number");
      }
      settings.levels[i] = {level.features, level.height, level.width, level.stride};
      height = std::max(height, level.height);
      width = std::max(width, level.width);
    }
    settings.level_count = arguments.level_count;
    settings.channels = arguments.channels;
    settings.side = arguments.output_size;
    settings.sampling_ratio = arguments.sampling_ratio;
    settings.aligned = arguments.aligned != 0;
    settings.first_level = arguments.first_level;
    settings.canonical_level = arguments.canonical_level;
    settings.canonical_size = arguments.canonical_size;
    settings.rois = arguments.rois;
    settings.counts = arguments.counts;
    settings.capacity = arguments.capacity;
    settings.weights_per_roi = most_weights(height, width, arguments.output_size);
    return settings;
  }
};

template <class Executor>
void add_regions(instseg_cuda_ops& ops) {
  ops.proposals = call<Executor, ProposalsOp, instseg_cuda_proposals>;
  ops.roi_align = call<Executor, RoiAlignOp, instseg_cuda_roi_align>;
}

}  // namespace instseg::cuda
