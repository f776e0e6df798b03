#include "families/mask_rcnn_device.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "core/stopwatch.hpp"
#include "device/detection_download.hpp"
#include "families/device_roi_head.hpp"
#include "families/device_stage.hpp"
#include "families/image_stage.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

constexpr int kMaxProposals = 4096;  // of an image

// Memory on the GPU for a batch; but for host_counts.
struct Buffers {
  explicit Buffers(const CudaDevice& device)
      : rois(device, CudaPlace::device),
        roi_scores(device, CudaPlace::device),
        roi_counts(device, CudaPlace::device),
        deltas(device, CudaPlace::device),
        detections(device, CudaPlace::device),
        detected_boxes(device, CudaPlace::device),
        roi_features(device, CudaPlace::device),
        mask_logits(device, CudaPlace::device),
        anchors(device, CudaPlace::device),
        host_counts(device, CudaPlace::pinned_host) {}

  CudaMemory rois;                 // images x proposals x 4
  CudaMemory roi_scores;           // images x proposals
  CudaMemory roi_counts;           // images
  std::vector<CudaMemory> logits;  // by box head: images x proposals x (classes + 1)
  CudaMemory deltas;               // of one box head: images x proposals x 4, or 4 * classes
  CudaMemory detections;           // a DetectionLayout
  CudaMemory detected_boxes;       // images x detections x 4, in network pixels
  CudaMemory roi_features;         // of one run of a head
  CudaMemory mask_logits;          // images x detections x classes x rows x columns
  CudaMemory anchors;              // of a cell, one map after the other
  CudaMemory host_counts;
};

float* reserve_floats(CudaMemory& memory, std::size_t count) {
  return reinterpret_cast<float*>(memory.reserve(count * sizeof(float)));
}

class MaskRcnnDeviceRun final : public DeviceRun {
 public:
  MaskRcnnDeviceRun(const MaskRcnnSessions& sessions, const MaskRcnnLayout& layout,
                    const CudaDevice& device, const InputSpec& input)
      : layout_(layout),
        features_(sessions.features->create_context()),
        queue_(device, features_.stream()),
        upload_(device, input),
        mask_head_(*sessions.mask_head, layout.mask_head.roi_align),
        buffers_(device),
        lists_(device) {
    for (std::size_t i = 0; i < layout.box_heads.size(); ++i) {
      box_heads_.emplace_back(*sessions.box_heads[i], layout.box_heads[i].roi_align);
      buffers_.logits.emplace_back(device, CudaPlace::device);
    }
    expect_one_stream();
    queue_.select();
    numbers_.emplace(device, queue_, std::max(proposals(), detections()));
    upload_anchors();
  }

  void run(const DeviceBatch& batch, float threshold, ThreadPool& pool, std::span<Result> results,
           KeptMasks* kept) override {
    queue_.select();
    try {
      const Stopwatch inference;
      set_sizes(batch);
      run_features(batch, pool);
      propose();
      run_box_heads(read_counts(buffers_.roi_counts.reserve(0)));
      const DetectionLayout found(images_, detections());
      const DetectionLists lists = found.at(buffers_.detections.reserve(found.bytes()), {});
      detect(threshold, lists);
      run_mask_head(read_counts(lists.list.counts));
      lists_.run(queue_, batch.images, images_, detections(), place_for(kept),
                 [&](int, std::byte* memory, const DetectionLists& filled) {
                   queue_.copy(memory, buffers_.detections.reserve(0), found.bytes());
                   paste(filled);
                 });
      const double inference_ms = inference.milliseconds();
      const Stopwatch postprocess;
      for_each_index(results.size(), pool,
                     [&](std::size_t i) { results[i].instances = lists_.instances(i); });
      if (kept != nullptr) {
        *kept = lists_.give_masks();
      }
      set_times(results, inference_ms, postprocess.milliseconds());
    } catch (...) {
      queue_.abandon();  // the buffers are free for the next call
      throw;
    }
  }

 private:
  [[nodiscard]] int proposals() const { return layout_.proposals.post_nms_top_k; }
  [[nodiscard]] int detections() const { return layout_.nms.keep_top_k; }
  // Rows of a list of the batch with this many entries per image.
  [[nodiscard]] std::size_t rows(int capacity) const {
    return static_cast<std::size_t>(images_) * static_cast<std::size_t>(capacity);
  }

  // What the stages write and the ops read, and the other way round, is in the order of one stream.
  void expect_one_stream() const {
    const auto other = [this](const DeviceRoiHead& head) {
      return head.stream() != features_.stream();
    };
    if (other(mask_head_) || std::ranges::any_of(box_heads_, other)) {
      throw Error(ErrorCode::internal, "the stages of a call have streams of their own");
    }
  }

  void upload_anchors() {
    std::vector<Box> all;
    for (const AnchorMapLayout& map : layout_.anchor_maps) {
      all.insert(all.end(), map.cell_anchors.begin(), map.cell_anchors.end());
    }
    const std::size_t bytes = all.size() * sizeof(Box);
    queue_.copy(buffers_.anchors.reserve(bytes), all.data(), bytes);
    queue_.wait();
  }

  void set_sizes(const DeviceBatch& batch) {
    images_ = static_cast<int>(batch.images.size());
    image_sizes_.clear();
    resized_sizes_.clear();
    for (const ImageView& image : batch.images) {
      image_sizes_.insert(image_sizes_.end(), {image.height, image.width});
    }
    for (const PixelSize& size : batch.resized) {
      resized_sizes_.insert(resized_sizes_.end(),
                            {static_cast<float>(size.height), static_cast<float>(size.width)});
    }
  }

  void run_features(const DeviceBatch& batch, ThreadPool& pool) {
    const std::array<std::int64_t, 4> shape{images_, 3, batch.input.height, batch.input.width};
    float* const input = upload_.enqueue(queue_, batch, pool);
    outputs_ = features_.enqueue(std::array{TensorView{input, shape, MemoryKind::device}});
    maps_.clear();
    for (std::size_t i = 0; i < layout_.feature_strides.size(); ++i) {
      const TensorView& map = outputs_[layout_.feature(i)];
      maps_.push_back({static_cast<const float*>(map.data), static_cast<int>(map.shape[2]),
                       static_cast<int>(map.shape[3]), layout_.feature_strides[i]});
    }
  }

  void propose() {
    std::array<instseg_cuda_proposal_level, INSTSEG_CUDA_MAX_LEVELS> levels{};
    const auto* anchors = reinterpret_cast<const float*>(buffers_.anchors.reserve(0));
    for (std::size_t i = 0; i < layout_.anchor_maps.size(); ++i) {
      const AnchorMapLayout& map = layout_.anchor_maps[i];
      const TensorView& logits = outputs_[layout_.rpn_logits(i)];
      levels[i] = {static_cast<const float*>(logits.data),
                   static_cast<const float*>(outputs_[layout_.rpn_deltas(i)].data),
                   anchors,
                   static_cast<std::int32_t>(map.cell_anchors.size()),
                   static_cast<std::int32_t>(logits.shape[2]),
                   static_cast<std::int32_t>(logits.shape[3]),
                   map.stride};
      anchors += 4 * map.cell_anchors.size();
    }
    instseg_cuda_proposals op{};
    op.levels = levels.data();
    op.level_count = static_cast<std::int32_t>(layout_.anchor_maps.size());
    op.images = images_;
    op.resized_sizes = resized_sizes_.data();
    op.pre_nms_top_k = layout_.proposals.pre_nms_top_k;
    op.post_nms_top_k = layout_.proposals.post_nms_top_k;
    op.iou_threshold = layout_.proposals.iou_threshold;
    op.min_size = layout_.proposals.min_size;
    op.capacity = proposals();
    op.counts = reserve_counts();
    op.boxes = reserve_floats(buffers_.rois, rows(proposals()) * 4);
    op.scores = reserve_floats(buffers_.roi_scores, rows(proposals()));
    queue_.run("proposals", &instseg_cuda_ops::proposals, op);
  }

  std::int32_t* reserve_counts() {
    return reinterpret_cast<std::int32_t*>(
        buffers_.roi_counts.reserve(static_cast<std::size_t>(images_) * sizeof(std::int32_t)));
  }

  // Waits for the numbers of a list; valid until the next call.
  std::span<const std::int32_t> read_counts(const void* counts) {
    const auto images = static_cast<std::size_t>(images_);
    std::byte* const host = buffers_.host_counts.reserve(images * sizeof(std::int32_t));
    queue_.copy(host, counts, images * sizeof(std::int32_t));
    queue_.wait();
    return {reinterpret_cast<const std::int32_t*>(host), images};
  }

  // The RoIs become those of the last head.
  void run_box_heads(std::span<const std::int32_t> counts) {
    float* const rois = reserve_floats(buffers_.rois, 0);
    int most_deltas = 0;
    for (const BoxHeadLayout& head : layout_.box_heads) {
      most_deltas = std::max(most_deltas, head.deltas);
    }
    float* const deltas_of_all =
        reserve_floats(buffers_.deltas, rows(proposals()) * static_cast<std::size_t>(most_deltas));
    for (std::size_t i = 0; i < box_heads_.size(); ++i) {
      const BoxHeadLayout& head = layout_.box_heads[i];
      const auto classes = static_cast<std::size_t>(layout_.classes) + 1;
      const auto deltas = static_cast<std::size_t>(head.deltas);
      const std::array<DeviceRows, 2> out{
          DeviceRows{reserve_floats(buffers_.logits[i], rows(proposals()) * classes), classes},
          DeviceRows{deltas_of_all, deltas}};
      box_heads_[i].enqueue(queue_, maps_, {rois, proposals(), counts}, *numbers_,
                            buffers_.roi_features, out);
      if (i + 1 < box_heads_.size()) {
        refine(rois, out[kDeltas].data, head.weights);
      }
    }
  }

  void refine(float* rois, const float* deltas, const std::array<float, 4>& weights) {
    instseg_cuda_refine_rois op{};
    op.rois = rois;
    op.deltas = deltas;
    op.counts = reserve_counts();
    op.capacity = proposals();
    op.images = images_;
    std::ranges::copy(weights, op.weights);
    op.resized_sizes = resized_sizes_.data();
    op.boxes = rois;
    queue_.run("refine_rois", &instseg_cuda_ops::refine_rois, op);
  }

  void detect(float threshold, const DetectionLists& lists) {
    const BoxHeadLayout& last = layout_.box_heads.back();
    instseg_cuda_box_detections op{};
    for (std::size_t i = 0; i < buffers_.logits.size(); ++i) {
      op.logits[i] = reserve_floats(buffers_.logits[i], 0);
    }
    op.sets = static_cast<std::int32_t>(buffers_.logits.size());
    op.deltas_per_class = last.deltas > 4 ? 1 : 0;
    op.deltas = reserve_floats(buffers_.deltas, 0);
    op.rois = reserve_floats(buffers_.rois, 0);
    op.counts = reserve_counts();
    op.capacity = proposals();
    op.images = images_;
    op.classes = layout_.classes;
    std::ranges::copy(last.weights, op.weights);
    op.resized_sizes = resized_sizes_.data();
    op.image_sizes = image_sizes_.data();
    // As on the CPU, leaving out here what the caller does not want changes nothing of the rest.
    op.nms = {std::max(layout_.nms.score_threshold, threshold), layout_.nms.iou_threshold,
              layout_.nms.nms_top_k, layout_.nms.keep_top_k};
    op.out = lists.list;
    op.out.boxes = reserve_floats(buffers_.detected_boxes, rows(detections()) * 4);
    op.out.image_boxes = lists.boxes;
    queue_.run("box_detections", &instseg_cuda_ops::box_detections, op);
  }

  void run_mask_head(std::span<const std::int32_t> counts) {
    const MaskHeadLayout& head = layout_.mask_head;
    const std::size_t floats = static_cast<std::size_t>(layout_.classes) *
                               static_cast<std::size_t>(head.rows) *
                               static_cast<std::size_t>(head.columns);
    const DeviceRows out{reserve_floats(buffers_.mask_logits, rows(detections()) * floats), floats};
    mask_head_.enqueue(queue_, maps_,
                       {reserve_floats(buffers_.detected_boxes, 0), detections(), counts},
                       *numbers_, buffers_.roi_features, std::span(&out, 1));
  }

  void paste(const DetectionLists& lists) {
    instseg_cuda_paste_masks op{};
    op.logits = reserve_floats(buffers_.mask_logits, 0);
    op.class_ids = lists.list.class_ids;
    op.image_boxes = lists.boxes;
    op.counts = lists.list.counts;
    op.capacity = detections();
    op.images = images_;
    op.classes = layout_.classes;
    op.rows = layout_.mask_head.rows;
    op.columns = layout_.mask_head.columns;
    op.image_sizes = image_sizes_.data();
    op.threshold = layout_.mask_head.threshold;
    op.out = lists.masks;
    queue_.run("paste_masks", &instseg_cuda_ops::paste_masks, op);
  }

  const MaskRcnnLayout& layout_;
  SessionContext features_;
  CudaQueue queue_;
  ImageUpload upload_;
  std::vector<DeviceRoiHead> box_heads_;
  DeviceRoiHead mask_head_;
  std::optional<DeviceNumbers> numbers_;
  Buffers buffers_;
  DetectionDownload lists_;
  // Of the batch.
  int images_ = 0;
  std::vector<std::int32_t> image_sizes_;  // height, width
  std::vector<float> resized_sizes_;       // height, width
  std::span<const TensorView> outputs_;    // of stage `features`
  std::vector<DeviceMap> maps_;
};

}  // namespace

std::string mask_rcnn_device_obstacle(const MaskRcnnLayout& layout) {
  const auto too_many = [](const std::string& what, std::size_t count, std::size_t most) {
    return what + " is " + std::to_string(count) + ", on the GPU at most " + std::to_string(most);
  };
  if (layout.proposals.post_nms_top_k > kMaxProposals) {
    return too_many("decode.rpn_post_nms_top_n",
                    static_cast<std::size_t>(layout.proposals.post_nms_top_k), kMaxProposals);
  }
  for (const std::size_t maps : {layout.feature_strides.size(), layout.anchor_maps.size()}) {
    if (maps > INSTSEG_CUDA_MAX_LEVELS) {
      return too_many("the number of feature maps", maps, INSTSEG_CUDA_MAX_LEVELS);
    }
  }
  return capacity_obstacle(layout.nms.keep_top_k);
}

std::unique_ptr<DeviceRun> make_mask_rcnn_device_run(const MaskRcnnSessions& sessions,
                                                     const MaskRcnnLayout& layout,
                                                     const CudaDevice& device,
                                                     const InputSpec& input) {
  return std::make_unique<MaskRcnnDeviceRun>(sessions, layout, device, input);
}

}  // namespace instseg
