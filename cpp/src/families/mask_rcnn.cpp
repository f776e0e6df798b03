#include "families/mask_rcnn.hpp"

#include <algorithm>
#include <array>

#include "core/stopwatch.hpp"
#include "families/image_stage.hpp"
#include "families/mask_rcnn_device.hpp"
#include "families/mask_rcnn_layout.hpp"
#include "families/roi_head.hpp"
#include "families/stage_check.hpp"
#include "ops/box_decode.hpp"
#include "ops/mask_paste.hpp"
#include "ops/sigmoid.hpp"

namespace instseg {
namespace {

MaskRcnnSessions compile(const BundleInfo& bundle, const MaskRcnnLayout& layout,
                         const SessionFactory& factory) {
  const std::vector<std::string> names = layout.output_names();
  const std::vector<std::string_view> views(names.begin(), names.end());
  MaskRcnnSessions sessions;
  sessions.features = factory(with_output_order(find_stage(bundle, kFeaturesStage), views));
  for (const BoxHeadLayout& head : layout.box_heads) {
    sessions.box_heads.push_back(
        factory(with_output_order(find_stage(bundle, head.stage), kBoxHeadOutputs)));
  }
  sessions.mask_head = factory(find_stage(bundle, layout.mask_head.stage));
  return sessions;
}

// What a box head says about the RoIs of a batch, row by row.
struct BoxHeadRows {
  std::vector<float> logits;  // RoIs x (classes + 1)
  std::vector<float> deltas;  // RoIs x 4, or RoIs x 4 * classes
};

// Takes the rows of some RoIs over into those of all, `count` RoIs.
void place_rows(const TensorView& output, std::span<const std::size_t> rois, std::size_t count,
                std::vector<float>& rows) {
  const auto width = static_cast<std::size_t>(output.shape[1]);
  rows.resize(count * width);
  const auto* values = static_cast<const float*>(output.data);
  for (const std::size_t roi : rois) {
    std::copy_n(values, width, rows.begin() + static_cast<std::ptrdiff_t>(roi * width));
    values += width;
  }
}

struct ImageScratch {
  std::vector<FeatureLevel> maps;
  std::vector<ProposalLevel> levels;
  ProposalScratch proposal;
  Proposals proposals;  // from one head of a cascade to the next: their boxes, refined
  std::vector<std::span<const float>> logits;  // of the image's RoIs, by box head
  std::vector<float> probabilities;
  BoxDecodeScratch detection;
  std::vector<Box> detected;  // in network pixels, one per instance
};

// An instance whose mask is still to come.
struct MaskTarget {
  Instance* instance = nullptr;
  const BatchImage* image = nullptr;
};

class MaskRcnnContext final : public ImageStageContext {
 public:
  MaskRcnnContext(const MaskRcnnSessions& sessions, const MaskRcnnLayout& layout)
      : ImageStageContext(*sessions.features),
        box_rows(layout.box_heads.size()),
        mask_head(*sessions.mask_head, layout.mask_head.roi_align) {
    for (std::size_t i = 0; i < layout.box_heads.size(); ++i) {
      box_heads.emplace_back(*sessions.box_heads[i], layout.box_heads[i].roi_align);
    }
  }

  std::vector<ImageScratch> scratch;  // one per image of the batch
  std::vector<ImageRois> rois;        // what the next head is run on
  std::vector<RoiHead> box_heads;
  std::vector<BoxHeadRows> box_rows;  // by box head
  RoiHead mask_head;
  std::vector<MaskTarget> targets;  // one per RoI of the mask head
  RoiScratch roi_scratch;
  double inference_ms = 0.0;
};

class MaskRcnn final : public Family {
 public:
  MaskRcnn(const BundleInfo& bundle, const SessionFactory& sessions)
      : input_(bundle.input),
        layout_(read_mask_rcnn(bundle)),
        sessions_(compile(bundle, layout_, sessions)) {}

  [[nodiscard]] std::unique_ptr<FamilyContext> create_context() const override {
    return std::make_unique<MaskRcnnContext>(sessions_, layout_);
  }

  void run(FamilyContext& base, std::span<const BatchImage> images, float threshold,
           ThreadPool& pool, std::span<Result> results) const override {
    auto& context = static_cast<MaskRcnnContext&>(base);
    const Stopwatch total;
    context.run();
    context.inference_ms = total.milliseconds();
    context.scratch.resize(std::max(context.scratch.size(), images.size()));
    for_each_index(images.size(), pool,
                   [&](std::size_t i) { propose(context, i, images[i], pool); });
    run_box_heads(context, images, pool);
    for_each_index(images.size(), pool,
                   [&](std::size_t i) { detect(context, i, images[i], threshold, results[i]); });
    run_mask_head(context, images, pool, results);
    set_times(results, context.inference_ms, total.milliseconds() - context.inference_ms);
  }

  [[nodiscard]] std::string device_obstacle() const override {
    return mask_rcnn_device_obstacle(layout_);
  }

  [[nodiscard]] std::unique_ptr<DeviceRun> create_device_run(
      const CudaDevice& device) const override {
    return make_mask_rcnn_device_run(sessions_, layout_, device, input_);
  }

 private:
  // The maps of one image, and its proposals.
  void propose(MaskRcnnContext& context, std::size_t index, const BatchImage& image,
               ThreadPool& pool) const {
    ImageScratch& scratch = context.scratch[index];
    scratch.maps.clear();
    for (std::size_t i = 0; i < layout_.feature_strides.size(); ++i) {
      const std::size_t output = layout_.feature(i);
      scratch.maps.push_back({context.output(output, index), context.output_size(output, 2),
                              context.output_size(output, 3), layout_.feature_strides[i]});
    }
    scratch.levels.clear();
    for (std::size_t i = 0; i < layout_.anchor_maps.size(); ++i) {
      const AnchorMapLayout& map = layout_.anchor_maps[i];
      const std::size_t logits = layout_.rpn_logits(i);
      scratch.levels.push_back({context.output(logits, index),
                                context.output(layout_.rpn_deltas(i), index),
                                context.output_size(logits, 2), context.output_size(logits, 3),
                                map.stride, map.cell_anchors});
    }
    generate_proposals(scratch.levels, static_cast<float>(image.preprocess.height),
                       static_cast<float>(image.preprocess.width), layout_.proposals, pool,
                       scratch.proposal, scratch.proposals);
  }

  // Fills context.box_rows; the proposals become the RoIs of the last head.
  void run_box_heads(MaskRcnnContext& context, std::span<const BatchImage> images,
                     ThreadPool& pool) const {
    for (std::size_t head = 0; head < context.box_heads.size(); ++head) {
      context.rois.clear();
      std::size_t count = 0;
      for (std::size_t i = 0; i < images.size(); ++i) {
        context.rois.push_back({context.scratch[i].maps, context.scratch[i].proposals.boxes});
        count += context.rois.back().boxes.size();
      }
      BoxHeadRows& rows = context.box_rows[head];
      rows.logits.clear();
      rows.deltas.clear();
      context.inference_ms += context.box_heads[head].run(
          context.rois, pool, context.roi_scratch,
          [&](std::span<const std::size_t> part, std::span<const TensorView> outputs) {
            place_rows(outputs[kLogits], part, count, rows.logits);
            place_rows(outputs[kDeltas], part, count, rows.deltas);
          });
      if (head + 1 < context.box_heads.size()) {
        refine(context, images, rows, layout_.box_heads[head].weights);
      }
    }
  }

  static void refine(MaskRcnnContext& context, std::span<const BatchImage> images,
                     const BoxHeadRows& rows, const std::array<float, 4>& weights) {
    std::span<const float> deltas = rows.deltas;
    for (std::size_t i = 0; i < images.size(); ++i) {
      std::vector<Box>& boxes = context.scratch[i].proposals.boxes;
      const std::size_t count = 4 * boxes.size();
      refine_rois(boxes, deltas.first(count), weights,
                  static_cast<float>(images[i].preprocess.height),
                  static_cast<float>(images[i].preprocess.width), boxes);
      deltas = deltas.subspan(count);
    }
  }

  // The instances of one image, without their masks.
  void detect(MaskRcnnContext& context, std::size_t index, const BatchImage& image, float threshold,
              Result& result) const {
    ImageScratch& scratch = context.scratch[index];
    scratch.detected.clear();
    result.instances.clear();
    for (const BoxDetection& found : find_boxes(context, index, image, threshold)) {
      const PreprocessInfo& place = image.preprocess;
      const Box box =
          box_in_image(found.box, place.scale_x, place.scale_y, image.height, image.width);
      if (box.x2 > box.x1 && box.y2 > box.y1) {
        result.instances.push_back({found.class_id, found.score, box, {}});
        scratch.detected.push_back(found.box);
      }
    }
  }

  // By class, in a class by falling score.
  [[nodiscard]] std::vector<BoxDetection> find_boxes(MaskRcnnContext& context, std::size_t index,
                                                     const BatchImage& image,
                                                     float threshold) const {
    ImageScratch& scratch = context.scratch[index];
    const std::size_t count = scratch.proposals.boxes.size();
    if (count == 0) {
      return {};
    }
    std::size_t first = 0;  // of the image's RoIs among those of the batch
    for (std::size_t i = 0; i < index; ++i) {
      first += context.scratch[i].proposals.boxes.size();
    }
    const auto rows_of_image = [&](const std::vector<float>& rows, int columns) {
      const auto width = static_cast<std::size_t>(columns);
      return std::span(rows).subspan(first * width, count * width);
    };
    scratch.logits.clear();
    for (const BoxHeadRows& rows : context.box_rows) {
      scratch.logits.push_back(rows_of_image(rows.logits, layout_.classes + 1));
    }
    mean_softmax(scratch.logits, layout_.classes + 1, scratch.probabilities);

    const BoxHeadLayout& last = layout_.box_heads.back();
    // Leaving out here what the caller does not want changes nothing of the rest: in the greedy NMS
    // of a class, and in the cut to the best of all, a candidate is only affected by candidates
    // with a score at least its own. And masks are only made of what is wanted.
    NmsSpec nms = layout_.nms;
    nms.score_threshold = std::max(nms.score_threshold, threshold);
    std::vector<BoxDetection> found = decode_boxes(
        scratch.proposals.boxes, rows_of_image(context.box_rows.back().deltas, last.deltas),
        scratch.probabilities, layout_.classes,
        {last.weights, static_cast<float>(image.preprocess.height),
         static_cast<float>(image.preprocess.width), nms},
        scratch.detection);
    std::ranges::stable_sort(found, [](const BoxDetection& a, const BoxDetection& b) {
      return a.class_id != b.class_id ? a.class_id < b.class_id : a.score > b.score;
    });
    return found;
  }

  void run_mask_head(MaskRcnnContext& context, std::span<const BatchImage> images, ThreadPool& pool,
                     std::span<Result> results) const {
    context.rois.clear();
    context.targets.clear();
    for (std::size_t i = 0; i < images.size(); ++i) {
      context.rois.push_back({context.scratch[i].maps, context.scratch[i].detected});
      for (Instance& instance : results[i].instances) {
        context.targets.push_back({&instance, &images[i]});
      }
    }
    context.inference_ms += context.mask_head.run(
        context.rois, pool, context.roi_scratch,
        [&](std::span<const std::size_t> part, std::span<const TensorView> outputs) {
          const auto* const logits = static_cast<const float*>(outputs.front().data);
          paste(context.targets, part, logits, pool);
        });
  }

  // logits: of the targets with numbers `part`, each classes x rows x columns.
  void paste(std::span<const MaskTarget> targets, std::span<const std::size_t> part,
             const float* logits, ThreadPool& pool) const {
    const MaskHeadLayout& head = layout_.mask_head;
    const std::size_t cells =
        static_cast<std::size_t>(head.rows) * static_cast<std::size_t>(head.columns);
    for_each_index(part.size(), pool, [&](std::size_t i) {
      thread_local std::vector<float> map;
      thread_local MaskPasteScratch scratch;
      const MaskTarget& target = targets[part[i]];
      Instance& instance = *target.instance;
      const std::size_t at = i * static_cast<std::size_t>(layout_.classes) +
                             static_cast<std::size_t>(instance.class_id);
      map.assign(logits + at * cells, logits + (at + 1) * cells);
      sigmoid(map);
      instance.mask = paste_mask(map, head.rows, head.columns, instance.box, target.image->height,
                                 target.image->width, head.threshold, scratch);
    });
  }

  InputSpec input_;
  MaskRcnnLayout layout_;
  MaskRcnnSessions sessions_;
};

}  // namespace

void check_mask_rcnn(const BundleInfo& bundle) { (void)read_mask_rcnn(bundle); }

std::unique_ptr<Family> create_mask_rcnn(const BundleInfo& bundle, const SessionFactory& sessions) {
  return std::make_unique<MaskRcnn>(bundle, sessions);
}

}  // namespace instseg
