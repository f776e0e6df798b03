#include "families/ppyoloe_seg.hpp"

#include <algorithm>
#include <array>

#include "families/decode_parameters.hpp"
#include "families/device_stage.hpp"
#include "families/image_stage.hpp"
#include "families/stage_check.hpp"
#include "ops/mask_decode.hpp"
#include "ops/nms.hpp"

namespace instseg {
namespace {

// boxes are read in place from the output tensor.
static_assert(sizeof(Box) == 4 * sizeof(float) && alignof(Box) == alignof(float));

enum Output : std::size_t { kBoxes, kScores, kCoefficients, kPrototypes };
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
};

Parameters read_parameters(const BundleInfo& bundle) {
  Parameters parameters;
  parameters.nms.score_threshold =
      static_cast<float>(decode_number(bundle, "score_threshold", 0.0, 1.0));
  parameters.nms.iou_threshold =
      static_cast<float>(decode_number(bundle, "nms_iou_threshold", 0.0, 1.0));
  parameters.nms.nms_top_k = decode_integer(bundle, "nms_top_k", kAllEntries, kMaxTopK);
  parameters.nms.keep_top_k = decode_integer(bundle, "keep_top_k", kAllEntries, kMaxTopK);
  parameters.mask.network_height = bundle.input.height;
  parameters.mask.network_width = bundle.input.width;
  parameters.mask.threshold = static_cast<float>(decode_number(bundle, "mask_threshold", 0.0, 1.0));
  return parameters;
}

Geometry read_geometry(const BundleInfo& bundle) {
  expect_resize(bundle, InputSpec::Resize::stretch);
  const StageCheck check(bundle, "model");
  check.expect_counts(1, kOutputs.size());
  expect_image_input(check);
  Geometry geometry;
  geometry.classes = static_cast<int>(bundle.labels.size());
  const TensorSpec& boxes = check.output("boxes", 3, kBatchAxis);
  geometry.anchors = check.fixed_size(boxes, 1, "anchors");
  check.expect_size(boxes, 2, 4, "x1, y1, x2, y2");
  const TensorSpec& scores = check.output("scores", 3, kBatchAxis);
  check.expect_size(scores, 1, geometry.classes, "one per label");
  check.expect_size(scores, 2, geometry.anchors, "one per box");
  const TensorSpec& coefficients = check.output("mask_coefficients", 3, kBatchAxis);
  geometry.prototypes = check.fixed_size(coefficients, 1, "prototypes");
  check.expect_size(coefficients, 2, geometry.anchors, "one per box");
  const TensorSpec& prototypes = check.output("prototypes", 4, kBatchAxis);
  check.expect_size(prototypes, 1, geometry.prototypes, "one per mask coefficient");
  geometry.prototype_height =
      check.fixed_size(prototypes, 2, "rows, not above input.height", bundle.input.height);
  geometry.prototype_width =
      check.fixed_size(prototypes, 3, "columns, not above input.width", bundle.input.width);
  return geometry;
}

// Raising the NMS's own threshold to the caller's leaves out work, never changes what is kept: in
// the greedy per-class NMS, and in both top-k cuts, a candidate is only affected by candidates with
// a score at least its own.
NmsSpec nms_above(NmsSpec nms, float threshold) {
  nms.score_threshold = std::max(nms.score_threshold, threshold);
  return nms;
}

Box in_image(const Box& box, float scale_x, float scale_y) {
  return {box.x1 / scale_x, box.y1 / scale_y, box.x2 / scale_x, box.y2 / scale_y};
}

class PpyoloeSegDecoder final : public DeviceDecoder {
 public:
  PpyoloeSegDecoder(const Parameters& parameters, const Geometry& geometry)
      : parameters_(parameters), geometry_(geometry) {}

  [[nodiscard]] int capacity() const override { return parameters_.nms.keep_top_k; }

  void enqueue(CudaQueue& queue, const DecodeCall& call) const override {
    const NmsSpec spec = nms_above(parameters_.nms, call.threshold);
    instseg_cuda_multiclass_nms nms{};
    nms.boxes = call.output(kBoxes);
    nms.scores = call.output(kScores);
    nms.images = call.images;
    nms.classes = geometry_.classes;
    nms.anchors = geometry_.anchors;
    nms.nms = {spec.score_threshold, spec.iou_threshold, spec.nms_top_k, spec.keep_top_k};
    nms.out = call.out.list;
    nms.out.boxes = call.out.boxes;
    queue.run("multiclass_nms", &instseg_cuda_ops::multiclass_nms, nms);

    instseg_cuda_prototype_masks masks{};
    masks.prototypes = call.output(kPrototypes);
    masks.coefficients = call.output(kCoefficients);
    masks.indices = nms.out.indices;
    masks.boxes = nms.out.boxes;
    masks.counts = nms.out.counts;
    masks.capacity = nms.out.capacity;
    masks.images = call.images;
    masks.channels = geometry_.prototypes;
    masks.anchors = geometry_.anchors;
    masks.rows = geometry_.prototype_height;
    masks.columns = geometry_.prototype_width;
    masks.network_height = parameters_.mask.network_height;
    masks.network_width = parameters_.mask.network_width;
    masks.image_sizes = call.image_sizes();
    masks.threshold = parameters_.mask.threshold;
    masks.out = call.out.masks;
    queue.run("prototype_masks", &instseg_cuda_ops::prototype_masks, masks);
  }

  [[nodiscard]] Box image_box(const Box& box, PixelSize resized, PixelSize image) const override {
    return in_image(box, static_cast<float>(resized.width) / static_cast<float>(image.width),
                    static_cast<float>(resized.height) / static_cast<float>(image.height));
  }

 private:
  Parameters parameters_;
  Geometry geometry_;
};

class PpyoloeSeg final : public Family {
 public:
  PpyoloeSeg(const BundleInfo& bundle, const SessionFactory& sessions)
      : input_(bundle.input),
        parameters_(read_parameters(bundle)),
        geometry_(read_geometry(bundle)),
        device_decoder_(parameters_, geometry_),
        session_(sessions(with_output_order(find_stage(bundle, "model"), kOutputs))) {}

  [[nodiscard]] std::unique_ptr<FamilyContext> create_context() const override {
    return std::make_unique<ImageStageContext>(*session_);
  }

  void run(FamilyContext& base, std::span<const BatchImage> images, float threshold,
           ThreadPool& pool, std::span<Result> results) const override {
    auto& context = static_cast<ImageStageContext&>(base);
    run_and_decode(context, pool, results, [&](std::size_t i) {
      decode(context, i, images[i], threshold, pool, results[i]);
    });
  }

  [[nodiscard]] std::string device_obstacle() const override {
    return capacity_obstacle(parameters_.nms.keep_top_k);
  }

  [[nodiscard]] std::unique_ptr<DeviceRun> create_device_run(
      const CudaDevice& device) const override {
    return make_device_stage_run(*session_, device_decoder_, device, input_);
  }

 private:
  void decode(const ImageStageContext& context, std::size_t index, const BatchImage& image,
              float threshold, ThreadPool& pool, Result& result) const {
    const NmsSpec nms = nms_above(parameters_.nms, threshold);
    thread_local NmsScratch nms_scratch;
    const std::span<const Box> boxes{
        reinterpret_cast<const Box*>(context.output(kBoxes, index).data()),
        static_cast<std::size_t>(geometry_.anchors)};
    const std::vector<Candidate> kept =
        multiclass_nms(boxes, context.output(kScores, index), geometry_.classes, nms, nms_scratch);

    result.instances.resize(kept.size());
    const auto decode_range = [&](std::int64_t begin, std::int64_t end) {
      thread_local MaskScratch scratch;
      thread_local std::vector<float> coefficients;
      coefficients.resize(static_cast<std::size_t>(geometry_.prototypes));
      const std::span<const float> all = context.output(kCoefficients, index);
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
        instance.box = in_image(box, image.preprocess.scale_x, image.preprocess.scale_y);
        instance.mask = decode_prototype_mask(context.output(kPrototypes, index),
                                              geometry_.prototypes, geometry_.prototype_height,
                                              geometry_.prototype_width, coefficients, box,
                                              image.height, image.width, parameters_.mask, scratch);
      }
    };
    pool.parallel_for(0, static_cast<std::int64_t>(kept.size()), 1, decode_range);
  }

  InputSpec input_;
  Parameters parameters_;
  Geometry geometry_;
  PpyoloeSegDecoder device_decoder_;
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
