#include "families/ppyoloe_seg.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include "core/stopwatch.hpp"
#include "families/decode_parameters.hpp"
#include "ops/mask_decode.hpp"
#include "ops/nms.hpp"

namespace instseg {
namespace {

// boxes are read in place from the output tensor.
static_assert(sizeof(Box) == 4 * sizeof(float) && alignof(Box) == alignof(float));

// In the order in which the context finds them.
constexpr std::array<std::string_view, 4> kOutputs = {"boxes", "scores", "mask_coefficients",
                                                      "prototypes"};

struct Parameters {
  NmsSpec nms;
  MaskDecodeSpec mask;
};

// Sizes per image.
struct Geometry {
  int classes = 0;
  int anchors = 0;
  int prototypes = 0;  // channels
  int prototype_height = 0;
  int prototype_width = 0;

  [[nodiscard]] std::size_t boxes_size() const { return std::size_t(anchors) * 4; }
  [[nodiscard]] std::size_t scores_size() const {
    return std::size_t(classes) * std::size_t(anchors);
  }
  [[nodiscard]] std::size_t coefficients_size() const {
    return std::size_t(prototypes) * std::size_t(anchors);
  }
  [[nodiscard]] std::size_t prototypes_size() const {
    return std::size_t(prototypes) * std::size_t(prototype_height) * std::size_t(prototype_width);
  }
};

Parameters read_parameters(const BundleInfo& bundle) {
  constexpr int kMaxTopK = 1'000'000;
  Parameters parameters;
  parameters.nms.score_threshold =
      static_cast<float>(decode_number(bundle, "score_threshold", 0.0, 1.0));
  parameters.nms.iou_threshold =
      static_cast<float>(decode_number(bundle, "nms_iou_threshold", 0.0, 1.0));
  parameters.nms.nms_top_k = decode_integer(bundle, "nms_top_k", -1, kMaxTopK);
  parameters.nms.keep_top_k = decode_integer(bundle, "keep_top_k", -1, kMaxTopK);
  parameters.mask.network_height = bundle.input.height;
  parameters.mask.network_width = bundle.input.width;
  parameters.mask.threshold = static_cast<float>(decode_number(bundle, "mask_threshold", 0.0, 1.0));
  return parameters;
}

const StageSpec& model_stage(const BundleInfo& bundle) { return find_stage(bundle, "model"); }

Geometry read_geometry(const BundleInfo& bundle) {
  if (bundle.input.resize != InputSpec::Resize::stretch) {
    fail_manifest(bundle, "key 'input.resize' must be stretch for family " + bundle.family +
                              ", whose network input has one size; found 'keep_ratio'");
  }
  const StageSpec& stage = model_stage(bundle);
  if (stage.inputs.size() != 1 || stage.outputs.size() != 4) {
    fail_manifest(bundle, "stage 'model' must have 1 input and 4 outputs, found " +
                              std::to_string(stage.inputs.size()) + " and " +
                              std::to_string(stage.outputs.size()));
  }
  const TensorSpec& image = find_batch_tensor(bundle, stage, stage.inputs, "image", 4);
  expect_axis(bundle, stage, image, 1, 3, "colour channels");
  expect_axis(bundle, stage, image, 2, bundle.input.height, "input.height");
  expect_axis(bundle, stage, image, 3, bundle.input.width, "input.width");
  const TensorSpec& boxes = find_batch_tensor(bundle, stage, stage.outputs, "boxes", 3);
  expect_axis(bundle, stage, boxes, 2, 4, "x1, y1, x2, y2");
  const std::int64_t anchors = boxes.shape[1].size;
  const TensorSpec& scores = find_batch_tensor(bundle, stage, stage.outputs, "scores", 3);
  expect_axis(bundle, stage, scores, 1, static_cast<std::int64_t>(bundle.labels.size()),
              "one per label");
  expect_axis(bundle, stage, scores, 2, anchors, "one per box");
  const TensorSpec& coefficients =
      find_batch_tensor(bundle, stage, stage.outputs, "mask_coefficients", 3);
  expect_axis(bundle, stage, coefficients, 2, anchors, "one per box");
  const TensorSpec& prototypes = find_batch_tensor(bundle, stage, stage.outputs, "prototypes", 4);
  expect_axis(bundle, stage, prototypes, 1, coefficients.shape[1].size, "one per mask coefficient");

  Geometry geometry;
  geometry.classes = static_cast<int>(bundle.labels.size());
  geometry.anchors = static_cast<int>(anchors);
  geometry.prototypes = static_cast<int>(prototypes.shape[1].size);
  geometry.prototype_height = static_cast<int>(prototypes.shape[2].size);
  geometry.prototype_width = static_cast<int>(prototypes.shape[3].size);
  if (geometry.prototype_height > bundle.input.height ||
      geometry.prototype_width > bundle.input.width) {
    fail_manifest(
        bundle,
        "stage 'model', tensor 'prototypes' must not be larger than the network input, found " +
            to_string(prototypes.shape));
  }
  return geometry;
}

class PpyoloeSegContext final : public FamilyContext {
 public:
  PpyoloeSegContext(const Geometry& geometry, SessionContext inference)
      : geometry_(geometry), inference_(std::move(inference)) {}

  std::span<float> input(int batch, PixelSize size) override {
    input_shape_ = {batch, 3, size.height, size.width};
    return input_.reserve(3 * std::size_t(batch) * std::size_t(size.height) *
                          std::size_t(size.width));
  }

  void infer() { outputs_ = inference_.run(std::array{TensorView{input_.data(), input_shape_}}); }

  // Of one image; valid until the next call of infer.
  [[nodiscard]] std::span<const Box> boxes(std::size_t image) const {
    const std::span<const float> values = output(0, image, geometry_.boxes_size());
    return {reinterpret_cast<const Box*>(values.data()),
            static_cast<std::size_t>(geometry_.anchors)};
  }
  [[nodiscard]] std::span<const float> scores(std::size_t image) const {
    return output(1, image, geometry_.scores_size());
  }
  [[nodiscard]] std::span<const float> coefficients(std::size_t image) const {
    return output(2, image, geometry_.coefficients_size());
  }
  [[nodiscard]] std::span<const float> prototypes(std::size_t image) const {
    return output(3, image, geometry_.prototypes_size());
  }

 private:
  // size: floats per image.
  [[nodiscard]] std::span<const float> output(std::size_t index, std::size_t image,
                                              std::size_t size) const {
    return {static_cast<const float*>(outputs_[index].data) + image * size, size};
  }

  const Geometry& geometry_;
  SessionContext inference_;
  std::array<std::int64_t, 4> input_shape_{};
  FloatBuffer input_;
  std::span<const TensorView> outputs_;  // the backend's memory, in the order of kOutputs
};

class PpyoloeSeg final : public Family {
 public:
  PpyoloeSeg(const BundleInfo& bundle, const SessionFactory& sessions)
      : parameters_(read_parameters(bundle)), geometry_(read_geometry(bundle)) {
    StageSpec stage = model_stage(bundle);
    std::sort(stage.outputs.begin(), stage.outputs.end(),
              [&](const TensorSpec& a, const TensorSpec& b) {
                return std::find(kOutputs.begin(), kOutputs.end(), a.name) <
                       std::find(kOutputs.begin(), kOutputs.end(), b.name);
              });
    session_ = sessions(stage);
  }

  [[nodiscard]] std::unique_ptr<FamilyContext> create_context() const override {
    return std::make_unique<PpyoloeSegContext>(geometry_, session_->create_context());
  }

  void run(FamilyContext& base, std::span<const BatchImage> images, float threshold,
           ThreadPool& pool, std::span<Result> results) const override {
    auto& context = static_cast<PpyoloeSegContext&>(base);
    const Stopwatch inference;
    context.infer();
    const double inference_ms = inference.milliseconds();

    const Stopwatch postprocess;
    pool.parallel_for(
        0, static_cast<std::int64_t>(images.size()), 1, [&](std::int64_t begin, std::int64_t end) {
          for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            decode(context, i, images[i], threshold, pool, results[i]);
          }
        });
    const double postprocess_ms = postprocess.milliseconds();
    for (Result& result : results) {
      result.timings.inference_ms = inference_ms;
      result.timings.postprocess_ms = postprocess_ms;
    }
  }

 private:
  void decode(const PpyoloeSegContext& context, std::size_t index, const BatchImage& image,
              float threshold, ThreadPool& pool, Result& result) const {
    // Raising the NMS's own threshold to the caller's leaves out work, never changes what is kept:
    // in the greedy per-class NMS, and in both top-k cuts, a candidate is only affected by
    // candidates with a score at least its own.
    NmsSpec nms = parameters_.nms;
    nms.score_threshold = std::max(nms.score_threshold, threshold);
    thread_local NmsScratch nms_scratch;
    const std::span<const Box> boxes = context.boxes(index);
    const std::vector<Candidate> kept =
        multiclass_nms(boxes, context.scores(index), geometry_.classes, nms, nms_scratch);

    result.instances.resize(kept.size());
    const auto decode_range = [&](std::int64_t begin, std::int64_t end) {
      thread_local MaskScratch scratch;
      thread_local std::vector<float> coefficients;
      coefficients.resize(static_cast<std::size_t>(geometry_.prototypes));
      const std::span<const float> all = context.coefficients(index);
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const Candidate& candidate = kept[i];
        const auto anchor = static_cast<std::size_t>(candidate.anchor);
        for (std::size_t channel = 0; channel < coefficients.size(); ++channel) {
          coefficients[channel] =
              all[channel * static_cast<std::size_t>(geometry_.anchors) + anchor];
        }
        const Box& box = boxes[anchor];
        Instance& instance = result.instances[i];
        instance.class_id = candidate.class_id;
        instance.score = candidate.score;
        instance.box = {box.x1 / image.preprocess.scale_x, box.y1 / image.preprocess.scale_y,
                        box.x2 / image.preprocess.scale_x, box.y2 / image.preprocess.scale_y};
        instance.mask = decode_prototype_mask(context.prototypes(index), geometry_.prototypes,
                                              geometry_.prototype_height, geometry_.prototype_width,
                                              coefficients, box, image.height, image.width,
                                              parameters_.mask, scratch);
      }
    };
    pool.parallel_for(0, static_cast<std::int64_t>(kept.size()), 1, decode_range);
  }

  Parameters parameters_;
  Geometry geometry_;
  std::unique_ptr<Session> session_;
};

}  // namespace

void check_ppyoloe_seg(const BundleInfo& bundle) {
  (void)read_parameters(bundle);
  (void)read_geometry(bundle);
}

std::unique_ptr<Family> create_ppyoloe_seg(const BundleInfo& bundle,
                                           const SessionFactory& sessions) {
  return std::make_unique<PpyoloeSeg>(bundle, sessions);
}

}  // namespace instseg
