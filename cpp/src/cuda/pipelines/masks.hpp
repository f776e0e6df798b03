// The ops that make masks.
#pragma once

#include "cuda/execution/call.hpp"
#include "cuda/kernels/multiply.hpp"
#include "cuda/kernels/render.hpp"
#include "cuda/pipelines/checks.hpp"

namespace instseg::cuda {

// What every op that makes masks is told.
struct MaskCall {
  const char* op;
  Instances instances;
  ImageSizes sizes;
  ImageSize largest_image;
  instseg_cuda_masks out;

  template <class Arguments>
  static MaskCall check(const char* op, const Arguments& arguments) {
    check_images(op, arguments.images, arguments.capacity);
    check_pixels(op, "a map", arguments.rows, arguments.columns);
    check_at_least(op, "the number of words", arguments.out.words_capacity, 0);
    MaskCall call{
        op, {arguments.counts, arguments.capacity, arguments.images}, {}, {}, arguments.out};
    call.sizes = read_image_sizes(op, arguments.image_sizes, arguments.images);
    call.largest_image = largest(call.sizes, arguments.images);
    return call;
  }
};

// From the windows of the instances to the places of their masks.
template <class Executor>
class Placement {
 public:
  Placement(std::int64_t total, Workspace& workspace)
      : total_(total),
        words_(workspace.take<std::int64_t>(total + 1)),
        scratch_bytes_(Executor::sum_bytes(total + 1)),
        scratch_(workspace.take<std::uint8_t>(static_cast<std::int64_t>(scratch_bytes_))) {}

  void run(Executor& executor, const Region* regions, std::int32_t* crops, std::int64_t* offsets) {
    executor.launch("mask crops", {ceil_div(total_ + 1, CropBody::kThreads)},
                    CropBody{regions, total_, crops, words_});
    executor.exclusive_sum(words_, offsets, total_ + 1, scratch_, scratch_bytes_);
  }

 private:
  std::int64_t total_;
  std::int64_t* words_;
  std::size_t scratch_bytes_;
  std::uint8_t* scratch_;
};

// Masks with taps of their own.
template <class Executor>
class InstanceTaps {
 public:
  InstanceTaps(const MaskCall& call, Workspace& workspace)
      : call_(call),
        x_(workspace.take<AxisTap>(call.instances.total() * call.largest_image.width)),
        y_(workspace.take<AxisTap>(call.instances.total() * call.largest_image.height)),
        windows_(workspace.take<Region>(call.instances.total())),
        placement_(call.instances.total(), workspace) {}

  // planes: n x rows x columns.
  template <int taps, Comparison comparison, class Source>
  void run(Executor& executor, const Source& source, const float* planes, int rows, int columns,
           float threshold) {
    const ImageSize largest = call_.largest_image;
    const std::int64_t total = call_.instances.total();
    executor.launch("mask taps", {2, total},
                    InstanceTapsBody<Source>{call_.instances, call_.sizes, source, x_, y_,
                                             largest.width, largest.height, windows_});
    placement_.run(executor, windows_, call_.out.crops, call_.out.offsets);
    if (total > 0) {
      using Body = RenderBody<taps, comparison, StoreWords>;
      executor.launch("mask pixels", {Body::kBlocks},
                      Body{planes,
                           rows,
                           columns,
                           x_,
                           y_,
                           largest.width,
                           largest.height,
                           1,
                           threshold,
                           total,
                           call_.out.crops,
                           call_.out.offsets,
                           {call_.out.words, call_.out.words_capacity}});
    }
  }

 private:
  const MaskCall& call_;
  AxisTap* x_;
  AxisTap* y_;
  Region* windows_;
  Placement<Executor> placement_;
};

// Masks of whole images, cropped to their tight bounds.
template <class Executor>
class WholeMasks {
 public:
  WholeMasks(const MaskCall& call, Workspace& workspace)
      : call_(call),
        x_(workspace.take<AxisTap>(std::int64_t{call.instances.images} * call.largest_image.width)),
        y_(workspace.take<AxisTap>(std::int64_t{call.instances.images} *
                                   call.largest_image.height)),
        cells_(workspace.take<Region>(call.instances.total())),
        windows_(workspace.take<Region>(call.instances.total())),
        bounds_(workspace.take<Region>(call.instances.total())),
        window_crops_(workspace.take<std::int32_t>(call.instances.total() * 4)),
        window_offsets_(workspace.take<std::int64_t>(call.instances.total() + 1)),
        placement_(call.instances.total(), workspace) {}

  // planes: n x rows x columns, logits; they are changed. cell_threshold: of logits; threshold: of
  // what is interpolated.
  template <CellValue kind>
  void run(Executor& executor, const MaskGeometry& geometry, float* planes, float cell_threshold,
           float threshold) {
    const ImageSize largest = call_.largest_image;
    const Instances& instances = call_.instances;
    const std::int64_t total = instances.total();
    clear(executor, cells_);
    clear(executor, bounds_);
    executor.launch("mask image taps",
                    {ceil_div(std::max(largest.width, largest.height), ImageTapsBody::kThreads), 2,
                     instances.images},
                    ImageTapsBody{geometry, call_.sizes, x_, y_, largest.width, largest.height});
    using Cells = CellsBody<kind, true>;
    executor.launch(
        "mask cells",
        {ceil_div(std::int64_t{geometry.rows} * geometry.columns, Cells::kCellsPerBlock), total},
        Cells{instances, planes, geometry.rows, geometry.columns, cell_threshold, cells_});
    executor.launch("mask windows", {ceil_div(total, NarrowBody::kThreads)},
                    NarrowBody{instances, call_.sizes, x_, y_, largest.width, largest.height,
                               cells_, windows_});
    placement_.run(executor, windows_, window_crops_, window_offsets_);
    render(executor, "mask bounds", geometry, planes, threshold, window_crops_, window_offsets_,
           FindBounds{bounds_});
    placement_.run(executor, bounds_, call_.out.crops, call_.out.offsets);
    render(executor, "mask pixels", geometry, planes, threshold, call_.out.crops, call_.out.offsets,
           StoreWords{call_.out.words, call_.out.words_capacity});
  }

 private:
  void clear(Executor& executor, Region* regions) {
    executor.launch("clear bounds", {ceil_div(call_.instances.total(), ClearBoundsBody::kThreads)},
                    ClearBoundsBody{regions, call_.instances.total()});
  }

  template <class Target>
  void render(Executor& executor, const char* name, const MaskGeometry& geometry,
              const float* planes, float threshold, const std::int32_t* crops,
              const std::int64_t* offsets, const Target& target) {
    using Body = RenderBody<3, Comparison::above, Target>;
    if (call_.instances.total() > 0) {
      executor.launch(
          name, {Body::kBlocks},
          Body{planes, geometry.rows, geometry.columns, x_, y_, call_.largest_image.width,
               call_.largest_image.height, call_.instances.capacity, threshold,
               call_.instances.total(), crops, offsets, target});
    }
  }

  const MaskCall& call_;
  AxisTap* x_;
  AxisTap* y_;
  Region* cells_;
  Region* windows_;
  Region* bounds_;
  std::int32_t* window_crops_;
  std::int64_t* window_offsets_;
  Placement<Executor> placement_;
};

// left . right, for `capacity` rows at most.
template <Summation summation, class Executor, class Left, class Epilogue>
void multiply(Executor& executor, const char* name, const Left& left, int capacity, int images,
              const float* right, int depth, std::int64_t columns, const Epilogue& epilogue) {
  using Body = MultiplyBody<summation, Left, Epilogue>;
  executor.launch(name,
                  {ceil_div(columns, Body::Tile::kColumns),
                   std::min(ceil_div(capacity, Body::kRows), Body::kMaxRowBlocks), images},
                  Body{left, right, depth, columns, epilogue});
}

struct PrototypeMasksOp {
  static constexpr const char* kName = "prototype masks";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_prototype_masks& arguments,
                  Workspace& workspace) {
    const MaskCall call = MaskCall::check(kName, arguments);
    check(arguments);
    const int rows = arguments.rows;
    const int columns = arguments.columns;
    const std::int64_t cells = std::int64_t{rows} * columns;
    auto* const planes = workspace.take<float>(call.instances.total() * cells);
    InstanceTaps<Executor> masks(call, workspace);
    if (!workspace.ready(kName)) {
      return;
    }
    const ChosenRows left{arguments.coefficients,
                          arguments.indices,
                          arguments.counts,
                          arguments.capacity,
                          std::int64_t{arguments.channels} * arguments.anchors,
                          1,
                          arguments.anchors};
    multiply<Summation::groups_of_four>(executor, "prototype product", left, arguments.capacity,
                                        arguments.images, arguments.prototypes, arguments.channels,
                                        cells, StoreProduct{planes, arguments.capacity});
    using Cells = CellsBody<CellValue::probability, false>;
    executor.launch("mask cells", {ceil_div(cells, Cells::kCellsPerBlock), call.instances.total()},
                    Cells{call.instances, planes, rows, columns, 0.0F, nullptr});
    const MaskGeometry geometry{rows,
                                columns,
                                arguments.network_height,
                                arguments.network_width,
                                arguments.network_height,
                                arguments.network_width};
    masks.template run<3, Comparison::above>(executor, BoxCut{geometry, arguments.boxes}, planes,
                                             rows, columns, arguments.threshold);
  }

 private:
  static void check(const instseg_cuda_prototype_masks& arguments) {
    check_pixels(kName, "the network input", arguments.network_height, arguments.network_width);
    if (arguments.rows > arguments.network_height || arguments.columns > arguments.network_width) {
      fail(kName, "prototypes are larger than the network input");
    }
    check_at_least(kName, "the number of channels", arguments.channels, 1);
    check_at_least(kName, "the number of anchors", arguments.anchors, 0);
    check_probability(kName, arguments.threshold);
  }
};

struct QueryMasksOp {
  static constexpr const char* kName = "query masks";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_query_masks& arguments,
                  Workspace& workspace) {
    const MaskCall call = MaskCall::check(kName, arguments);
    check_at_least(kName, "the number of channels", arguments.channels, 1);
    check_at_least(kName, "the number of queries", arguments.queries, 0);
    check_probability(kName, arguments.threshold);
    const std::int64_t cells = std::int64_t{arguments.rows} * arguments.columns;
    auto* const planes = workspace.take<float>(call.instances.total() * cells);
    WholeMasks<Executor> masks(call, workspace);
    if (!workspace.ready(kName)) {
      return;
    }
    const ChosenRows left{arguments.embeddings,
                          arguments.indices,
                          arguments.counts,
                          arguments.capacity,
                          std::int64_t{arguments.queries} * arguments.channels,
                          arguments.channels,
                          1};
    multiply<Summation::fused>(executor, "query product", left, arguments.capacity,
                               arguments.images, arguments.features, arguments.channels, cells,
                               StoreProduct{planes, arguments.capacity});
    const float threshold = logit_of_threshold(arguments.threshold);
    masks.template run<CellValue::logit>(executor,
                                         {arguments.rows, arguments.columns, arguments.rows,
                                          arguments.columns, arguments.rows, arguments.columns},
                                         planes, threshold, threshold);
  }
};

struct PasteMasksOp {
  static constexpr const char* kName = "paste masks";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_paste_masks& arguments,
                  Workspace& workspace) {
    const MaskCall call = MaskCall::check(kName, arguments);
    check_at_least(kName, "the number of classes", arguments.classes, 1);
    if (!(arguments.threshold > 0.0F && arguments.threshold <= 1.0F)) {
      fail(kName, "the threshold is " + std::to_string(arguments.threshold) +
                      ", expected above 0, at most 1");
    }
    const int rows = arguments.rows;
    const int columns = arguments.columns;
    const std::int64_t total = call.instances.total();
    auto* const planes = workspace.take<float>(total * (rows + 2) * (columns + 2));
    InstanceTaps<Executor> masks(call, workspace);
    if (!workspace.ready(kName)) {
      return;
    }
    executor.launch("paste cells", {total},
                    PasteCellsBody{call.instances, arguments.logits, arguments.class_ids,
                                   arguments.classes, rows, columns, planes});
    masks.template run<2, Comparison::at_least>(executor,
                                                BoxPaste{rows, columns, arguments.image_boxes},
                                                planes, rows + 2, columns + 2, arguments.threshold);
  }
};

template <class Executor>
void add_masks(instseg_cuda_ops& ops) {
  ops.prototype_masks = call<Executor, PrototypeMasksOp, instseg_cuda_prototype_masks>;
  ops.query_masks = call<Executor, QueryMasksOp, instseg_cuda_query_masks>;
  ops.paste_masks = call<Executor, PasteMasksOp, instseg_cuda_paste_masks>;
}

}  // namespace instseg::cuda
