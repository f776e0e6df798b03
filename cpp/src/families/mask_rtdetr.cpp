#include "families/mask_rtdetr.hpp"

#include <algorithm>
#include <array>

#include "families/decode_parameters.hpp"
#include "families/device_stage.hpp"
#include "families/image_stage.hpp"
#include "families/stage_check.hpp"
#include "ops/query_decode.hpp"

namespace instseg {
namespace {

enum Output : std::size_t { kLogits, kBoxes, kEmbeddings, kFeatures };
constexpr std::array<std::string_view, 4> kOutputs = {"logits", "boxes", "mask_embeddings",
                                                      "mask_features"};

QuerySpec read_parameters(const BundleInfo& bundle) {
  QuerySpec spec;
  spec.top_k = decode_integer(bundle, "keep_top_k", kAllEntries, kMaxTopK);
  spec.mask_threshold = static_cast<float>(decode_number(bundle, "mask_threshold", 0.0, 1.0));
  spec.score_threshold = static_cast<float>(decode_number(bundle, "score_threshold", 0.0, 1.0));
  return spec;
}

// The sizes of the outputs; what they hold comes with each image.
QueryOutputs read_sizes(const BundleInfo& bundle) {
  expect_resize(bundle, InputSpec::Resize::stretch);
  const StageCheck check(bundle, "model");
  check.expect_counts(1, kOutputs.size());
  expect_image_input(check);
  QueryOutputs sizes;
  sizes.classes = static_cast<int>(bundle.labels.size());
  const TensorSpec& logits = check.output("logits", 3, kBatchAxis);
  sizes.queries = check.fixed_size(logits, 1, "queries");
  check.expect_size(logits, 2, sizes.classes, "one per label");
  const TensorSpec& boxes = check.output("boxes", 3, kBatchAxis);
  check.expect_size(boxes, 1, sizes.queries, "one per query");
  check.expect_size(boxes, 2, 4, "centre x, centre y, width, height");
  const TensorSpec& embeddings = check.output("mask_embeddings", 3, kBatchAxis);
  check.expect_size(embeddings, 1, sizes.queries, "one per query");
  sizes.channels = check.fixed_size(embeddings, 2, "prototypes");
  const TensorSpec& features = check.output("mask_features", 4, kBatchAxis);
  check.expect_size(features, 1, sizes.channels, "one per value of an embedding");
  sizes.height = check.fixed_size(features, 2, "rows, not above input.height", bundle.input.height);
  sizes.width = check.fixed_size(features, 3, "columns, not above input.width", bundle.input.width);
  return sizes;
}

class MaskRtdetrContext final : public ImageStageContext {
 public:
  using ImageStageContext::ImageStageContext;

  std::vector<QueryScratch> scratch;  // one per image of the batch
};

// Of the best pairs, whose number the caller's threshold does not change, those above it.
QuerySpec spec_above(QuerySpec spec, float threshold) {
  spec.score_threshold = std::max(spec.score_threshold, threshold);
  return spec;
}

class MaskRtdetrDecoder final : public DeviceDecoder {
 public:
  MaskRtdetrDecoder(const QuerySpec& parameters, const QueryOutputs& sizes)
      : parameters_(parameters), sizes_(sizes) {}

  [[nodiscard]] int capacity() const override { return parameters_.top_k; }

  void enqueue(CudaQueue& queue, const DecodeCall& call) const override {
    const QuerySpec spec = spec_above(parameters_, call.threshold);
    instseg_cuda_query_select select{};
    select.logits = call.output(kLogits);
    select.boxes = call.output(kBoxes);
    select.images = call.images;
    select.queries = sizes_.queries;
    select.classes = sizes_.classes;
    select.top_k = spec.top_k;
    select.score_threshold = spec.score_threshold;
    select.image_sizes = call.image_sizes();
    select.out = call.out.list;
    select.out.image_boxes = call.out.boxes;
    queue.run("query_select", &instseg_cuda_ops::query_select, select);

    instseg_cuda_query_masks masks{};
    masks.embeddings = call.output(kEmbeddings);
    masks.features = call.output(kFeatures);
    masks.indices = select.out.indices;
    masks.counts = select.out.counts;
    masks.capacity = select.out.capacity;
    masks.images = call.images;
    masks.channels = sizes_.channels;
    masks.queries = sizes_.queries;
    masks.rows = sizes_.height;
    masks.columns = sizes_.width;
    masks.image_sizes = call.image_sizes();
    masks.threshold = spec.mask_threshold;
    masks.out = call.out.masks;
    queue.run("query_masks", &instseg_cuda_ops::query_masks, masks);
  }

 private:
  QuerySpec parameters_;
  QueryOutputs sizes_;
};

class MaskRtdetr final : public Family {
 public:
  MaskRtdetr(const BundleInfo& bundle, const SessionFactory& sessions)
      : input_(bundle.input),
        parameters_(read_parameters(bundle)),
        sizes_(read_sizes(bundle)),
        device_decoder_(parameters_, sizes_),
        session_(sessions(with_output_order(find_stage(bundle, "model"), kOutputs))) {}

  [[nodiscard]] std::unique_ptr<FamilyContext> create_context() const override {
    return std::make_unique<MaskRtdetrContext>(*session_);
  }

  void run(FamilyContext& base, std::span<const BatchImage> images, float threshold,
           ThreadPool& pool, std::span<Result> results) const override {
    auto& context = static_cast<MaskRtdetrContext&>(base);
    context.scratch.resize(std::max(context.scratch.size(), images.size()));
    run_and_decode(context, pool, results, [&](std::size_t i) {
      decode(context, i, images[i], threshold, pool, results[i]);
    });
  }

  [[nodiscard]] std::string device_obstacle() const override {
    return capacity_obstacle(parameters_.top_k);
  }

  [[nodiscard]] std::unique_ptr<DeviceRun> create_device_run(
      const CudaDevice& device) const override {
    return make_device_stage_run(*session_, device_decoder_, device, input_);
  }

 private:
  void decode(MaskRtdetrContext& context, std::size_t index, const BatchImage& image,
              float threshold, ThreadPool& pool, Result& result) const {
    const QuerySpec spec = spec_above(parameters_, threshold);
    QueryOutputs outputs = sizes_;
    outputs.logits = context.output(kLogits, index);
    outputs.boxes = context.output(kBoxes, index);
    outputs.embeddings = context.output(kEmbeddings, index);
    outputs.features = context.output(kFeatures, index);
    result.instances.clear();
    for (QueryInstance& found :
         decode_queries(outputs, image.height, image.width, spec, pool, context.scratch[index])) {
      result.instances.push_back({found.class_id, found.score, found.box, std::move(found.mask)});
    }
  }

  InputSpec input_;
  QuerySpec parameters_;
  QueryOutputs sizes_;
  MaskRtdetrDecoder device_decoder_;
  std::unique_ptr<Session> session_;
};

}  // namespace

void check_mask_rtdetr(const BundleInfo& bundle) {
  (void)read_parameters(bundle);
  (void)read_sizes(bundle);
}

std::unique_ptr<Family> create_mask_rtdetr(const BundleInfo& bundle,
                                           const SessionFactory& sessions) {
  return std::make_unique<MaskRtdetr>(bundle, sessions);
}

}  // namespace instseg
