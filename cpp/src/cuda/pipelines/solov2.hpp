// Matrix NMS, and the decode of SOLOv2 around it.
#pragma once

#include "cuda/kernels/matrix_nms.hpp"
#include "cuda/kernels/solov2.hpp"
#include "cuda/pipelines/masks.hpp"
#include "cuda/pipelines/rank.hpp"

namespace instseg::cuda {

template <class Executor>
class MatrixNms {
 public:
  // `most`: entries at most.
  MatrixNms(const char* op, std::int64_t most, const instseg_cuda_matrix_nms_spec& spec,
            Workspace& workspace)
      : spec_(checked(op, spec)),
        ranked_(1, most, spec.pre_top_k, workspace),
        kept_(1, ranked_.capacity(), spec.post_top_k, workspace),
        ranges_(workspace.take<WordRange>(ranked_.capacity())),
        overlaps_(workspace.take<float>(ranked_.capacity() * ranked_.capacity())),
        compensation_(workspace.take<float>(ranked_.capacity())),
        scores_(workspace.take<float>(ranked_.capacity())) {}

  // Entries at most that are kept.
  [[nodiscard]] std::int64_t capacity() const { return kept_.capacity(); }

  // Writes the kept entries with a lowered score above the threshold.
  void run(Executor& executor, MaskEntries entries, const PlainScores& scores, float threshold,
           std::int32_t* count, std::int32_t* out_entries, float* out_scores) {
    ranked_.run(executor, "rank masks", scores);
    entries.ranked = ranked_.lists();
    const std::int64_t most = ranked_.capacity();
    executor.launch("measure masks", {most}, MeasureBitsBody{entries, ranges_});
    executor.launch("overlaps of masks", {most},
                    OverlapBody{entries, ranges_, most, overlaps_, compensation_});
    executor.launch("lower scores", {most},
                    DecayBody{entries.ranked, most, overlaps_, compensation_, spec_.linear == 0,
                              spec_.sigma, spec_.update_threshold, scores_});
    kept_.run(executor, "rank lowered scores", PlainScores{scores_, entries.ranked.counts});
    executor.launch(
        "write kept masks", {1},
        WriteKeptBody{entries.ranked, kept_.lists(), threshold, count, out_entries, out_scores});
  }

 private:
  static const instseg_cuda_matrix_nms_spec& checked(const char* op,
                                                     const instseg_cuda_matrix_nms_spec& spec) {
    constexpr int kMaxEntries = 8192;
    if (spec.pre_top_k < 0 || spec.pre_top_k > kMaxEntries) {
      fail(op, "pre_top_k is " + std::to_string(spec.pre_top_k) + ", expected 0 to " +
                   std::to_string(kMaxEntries));
    }
    if (std::isnan(spec.update_threshold) || std::isnan(spec.sigma)) {
      fail(op, "the update threshold or sigma is NaN");
    }
    return spec;
  }

  instseg_cuda_matrix_nms_spec spec_;
  Ranking<Executor> ranked_;
  Ranking<Executor> kept_;
  WordRange* ranges_;
  float* overlaps_;
  float* compensation_;
  float* scores_;
};

struct MatrixNmsOp {
  static constexpr const char* kName = "matrix NMS";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_matrix_nms& arguments,
                  Workspace& workspace) {
    check_at_least(kName, "the number of words", arguments.words_per_mask, 0);
    check_at_least(kName, "the capacity", arguments.capacity, 0);
    MatrixNms<Executor> nms(kName, arguments.capacity, arguments.spec, workspace);
    if (arguments.out_capacity < nms.capacity()) {
      fail(kName, "a list of " + std::to_string(arguments.out_capacity) +
                      " entries, expected at least " + std::to_string(nms.capacity()));
    }
    if (!workspace.ready(kName)) {
      return;
    }
    nms.run(executor,
            {arguments.bits,
             arguments.words_per_mask,
             arguments.masks,
             arguments.areas,
             arguments.class_ids,
             {}},
            {arguments.scores, arguments.count}, -std::numeric_limits<float>::infinity(),
            arguments.out_count, arguments.out_entries, arguments.out_scores);
  }
};

struct Solov2Op {
  static constexpr const char* kName = "SOLOv2 decode";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_solov2& arguments, Workspace& workspace) {
    const Grids grids = check(arguments);
    const std::int64_t cells = std::int64_t{arguments.rows} * arguments.columns;
    Candidates<Executor> candidates(grids, cells, workspace);
    MatrixNms<Executor> nms(kName, std::int64_t{grids.cells} * grids.classes, arguments.nms,
                            workspace);
    if (arguments.out.capacity < nms.capacity()) {
      fail(kName, "a list of " + std::to_string(arguments.out.capacity) +
                      " detections, expected at least " + std::to_string(nms.capacity()));
    }
    const std::int64_t capacity = arguments.out.capacity;
    auto* const kept = workspace.take<std::int32_t>(capacity);
    auto* const kept_cells = workspace.take<std::int32_t>(capacity);
    auto* const kept_scores = workspace.take<float>(capacity);
    auto* const planes = workspace.take<float>(capacity * cells);
    const MaskCall call = mask_call(arguments);
    WholeMasks<Executor> masks(call, workspace);
    if (!workspace.ready(kName)) {
      return;
    }
    const float threshold = logit_of_threshold(arguments.mask_threshold);
    candidates.run(executor, arguments, threshold);
    float* const scores = arguments.out.scores == nullptr ? kept_scores : arguments.out.scores;
    const SolovEntries& entries = candidates.entries();
    nms.run(executor, candidates.masks(), {entries.scores, entries.count},
            arguments.result_threshold, arguments.out.counts, kept, scores);
    executor.launch(
        "write instances", {ceil_div(capacity, WriteInstancesBody::kThreads)},
        WriteInstancesBody{entries, kept, arguments.out.counts, kept_cells, arguments.out});
    multiply<Summation::fused>(
        executor, "instance product", KernelRows{grids, kept_cells, arguments.out.counts},
        static_cast<int>(capacity), 1, arguments.features, arguments.channels, cells,
        StoreProduct{planes, static_cast<int>(capacity)});
    masks.template run<CellValue::probability>(executor, geometry(arguments), planes, threshold,
                                               arguments.mask_threshold);
    if (arguments.out.image_boxes != nullptr) {
      executor.launch("mask boxes", {ceil_div(capacity, CropBoxesBody::kThreads)},
                      CropBoxesBody{arguments.masks.crops, static_cast<int>(capacity),
                                    arguments.out.image_boxes});
    }
  }

 private:
  static constexpr int kStride = 4;  // pixels of the network input per cell of the features

  // From the outputs of the network to scored masks.
  template <class Executor>
  class Candidates {
   public:
    Candidates(const Grids& grids, std::int64_t cells, Workspace& workspace)
        : grids_(grids), words_(static_cast<int>(ceil_div(cells, 64))) {
      const std::int64_t kernels = grids.cells;
      const std::int64_t most = kernels * grids.classes;
      for (std::int64_t** numbers :
           {&candidates_, &kernel_flags_, &entry_offsets_, &kernel_offsets_}) {
        *numbers = workspace.take<std::int64_t>(kernels + 1);
      }
      scratch_bytes_ = Executor::sum_bytes(kernels + 1);
      scratch_ = workspace.take<std::uint8_t>(static_cast<std::int64_t>(scratch_bytes_));
      entries_ = {workspace.take<std::int32_t>(most), workspace.take<std::int32_t>(most),
                  workspace.take<float>(most),        workspace.take<std::int32_t>(most),
                  workspace.take<std::int32_t>(1),    workspace.take<std::int32_t>(kernels),
                  workspace.take<std::int32_t>(1)};
      bits_ = workspace.take<std::uint64_t>(kernels * words_);
      sums_ = workspace.take<float>(kernels * words_);
      areas_ = workspace.take<std::int32_t>(kernels);
      means_ = workspace.take<float>(kernels);
    }

    [[nodiscard]] const SolovEntries& entries() const { return entries_; }
    [[nodiscard]] MaskEntries masks() const {
      return {bits_, words_, entries_.kernels, entries_.areas, entries_.class_ids, {}};
    }

    void run(Executor& executor, const instseg_cuda_solov2& arguments, float threshold) {
      const std::int64_t cells = std::int64_t{arguments.rows} * arguments.columns;
      const std::int64_t kernels = grids_.cells;
      const Grid by_cell{ceil_div(kernels + 1, CountCandidatesBody::kCells)};
      executor.launch(
          "count candidates", by_cell,
          CountCandidatesBody{grids_, arguments.score_threshold, candidates_, kernel_flags_});
      executor.exclusive_sum(candidates_, entry_offsets_, kernels + 1, scratch_, scratch_bytes_);
      executor.exclusive_sum(kernel_flags_, kernel_offsets_, kernels + 1, scratch_, scratch_bytes_);
      executor.launch("write candidates", by_cell,
                      WriteEntriesBody{grids_, arguments.score_threshold, entry_offsets_,
                                       kernel_offsets_, entries_});
      multiply<Summation::fused>(executor, "candidate product",
                                 KernelRows{grids_, entries_.kernel_cells, entries_.kernel_count},
                                 grids_.cells, 1, arguments.features, arguments.channels, cells,
                                 BinariseProduct{threshold, words_, bits_, sums_});
      executor.launch(
          "measure candidates", {ceil_div(kernels, MeasureMasksBody::kKernels)},
          MeasureMasksBody{entries_.kernel_count, words_, bits_, sums_, areas_, means_});
      executor.launch("score candidates",
                      {ceil_div(kernels * grids_.classes, ScoreEntriesBody::kThreads)},
                      ScoreEntriesBody{grids_, entries_, areas_, means_});
    }

   private:
    Grids grids_;
    int words_;
    std::int64_t* candidates_ = nullptr;
    std::int64_t* kernel_flags_ = nullptr;
    std::int64_t* entry_offsets_ = nullptr;
    std::int64_t* kernel_offsets_ = nullptr;
    std::size_t scratch_bytes_ = 0;
    std::uint8_t* scratch_ = nullptr;
    SolovEntries entries_{};
    std::uint64_t* bits_ = nullptr;
    float* sums_ = nullptr;
    std::int32_t* areas_ = nullptr;
    float* means_ = nullptr;
  };

  static MaskGeometry geometry(const instseg_cuda_solov2& arguments) {
    return {arguments.rows,           arguments.columns,
            arguments.rows * kStride, arguments.columns * kStride,
            arguments.resized_height, arguments.resized_width};
  }

  static MaskCall mask_call(const instseg_cuda_solov2& arguments) {
    const ImageSize image{arguments.image_height, arguments.image_width};
    MaskCall call{
        kName, {arguments.out.counts, arguments.out.capacity, 1}, {}, image, arguments.masks};
    call.sizes.of[0] = image;
    return call;
  }

  static Grids check(const instseg_cuda_solov2& arguments) {
    constexpr int kMaxGrid = 1024;
    check_images(kName, 1, arguments.out.capacity);
    check_at_least(kName, "the number of words", arguments.masks.words_capacity, 0);
    check_at_least(kName, "the number of classes", arguments.classes, 1);
    check_at_least(kName, "the number of channels", arguments.channels, 1);
    check_pixels(kName, "the image", arguments.image_height, arguments.image_width);
    check_pixels(kName, "the resized image", arguments.resized_height, arguments.resized_width);
    check_pixels(kName, "a feature map", arguments.rows, arguments.columns);
    check_probability(kName, arguments.mask_threshold);
    if (arguments.resized_height > std::int64_t{arguments.rows} * kStride ||
        arguments.resized_width > std::int64_t{arguments.columns} * kStride) {
      fail(kName, "the resized image is larger than the network input");
    }
    if (std::isnan(arguments.score_threshold) || std::isnan(arguments.result_threshold)) {
      fail(kName, "a threshold is NaN");
    }
    if (arguments.level_count < 1 || arguments.level_count > INSTSEG_CUDA_MAX_LEVELS) {
      fail(kName, std::to_string(arguments.level_count) + " levels, expected 1 to " +
                      std::to_string(INSTSEG_CUDA_MAX_LEVELS));
    }
    Grids grids{};
    grids.level_count = arguments.level_count;
    grids.classes = arguments.classes;
    grids.channels = arguments.channels;
    for (int i = 0; i < arguments.level_count; ++i) {
      const instseg_cuda_solov2_level& level = arguments.levels[i];
      if (level.grid < 1 || level.grid > kMaxGrid) {
        fail(kName, "a grid of " + std::to_string(level.grid) + ", expected 1 to " +
                        std::to_string(kMaxGrid));
      }
      grids.levels[i] = {level.scores, level.kernels, grids.cells, level.minimum_area};
      grids.cells += level.grid * level.grid;
    }
    check_at_least(kName, "cells x classes", std::int64_t{grids.cells} * grids.classes, 1);
    return grids;
  }
};

template <class Executor>
void add_solov2(instseg_cuda_ops& ops) {
  ops.matrix_nms = call<Executor, MatrixNmsOp, instseg_cuda_matrix_nms>;
  ops.solov2 = call<Executor, Solov2Op, instseg_cuda_solov2>;
}

}  // namespace instseg::cuda
