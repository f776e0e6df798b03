#include "families/solov2.hpp"

#include <algorithm>
#include <array>

#include "families/decode_parameters.hpp"
#include "families/device_stage.hpp"
#include "families/image_stage.hpp"
#include "families/stage_check.hpp"
#include "instseg/error.hpp"
#include "ops/solov2_decode.hpp"

namespace instseg {
namespace {

enum Output : std::size_t { kScores, kKernels, kFeatures };
constexpr std::array<std::string_view, 3> kOutputs = {"scores", "kernels", "mask_features"};

struct Grid {
  int size = 0;  // cells per side
  int minimum_area = 0;

  [[nodiscard]] std::size_t cells() const {
    return static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  }
};

struct Layout {
  Solov2Spec spec;
  std::vector<Grid> grids;  // the finest first
};

void read_parameters(const BundleInfo& bundle, Layout& layout) {
  constexpr double kMaxSigma = 1000.0;
  Solov2Spec& spec = layout.spec;
  spec.score_threshold = static_cast<float>(decode_number(bundle, "score_threshold", 0.0, 1.0));
  spec.mask_threshold = static_cast<float>(decode_number(bundle, "mask_threshold", 0.0, 1.0));
  spec.nms.pre_top_k = decode_integer(bundle, "nms_top_k", 1, kMaxMatrixNmsEntries);
  spec.nms.post_top_k = decode_integer(bundle, "keep_top_k", kAllEntries, kMaxTopK);
  spec.nms.sigma = static_cast<float>(decode_number(bundle, "nms_sigma", 0.0, kMaxSigma));
  spec.nms.update_threshold =
      static_cast<float>(decode_number(bundle, "update_threshold", 0.0, 1.0));

  constexpr std::size_t kMaxGrids = 16;
  constexpr double kMaxArea = 1e6;
  const std::vector<int> sizes =
      decode_integers(bundle, "grid_sizes", {1, kMaxGrids, 1, kMaxSolov2Grid});
  const std::vector<int> areas =
      decode_integers(bundle, "minimum_areas", {sizes.size(), sizes.size(), 0, kMaxArea});
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    layout.grids.push_back({sizes[i], areas[i]});
  }
}

void read_stage(const BundleInfo& bundle, Layout& layout) {
  expect_resize(bundle, InputSpec::Resize::keep_ratio);
  if (bundle.input.pad_stride % kSolov2FeatureStride != 0) {
    fail_manifest(bundle, "key 'input.pad_stride' must be a multiple of " +
                              std::to_string(kSolov2FeatureStride) +
                              ", the pixels per cell of the mask features; found " +
                              std::to_string(bundle.input.pad_stride));
  }
  std::size_t cells = 0;
  for (const Grid& grid : layout.grids) {
    cells += grid.cells();
  }
  const StageCheck check(bundle, "model");
  check.expect_counts(1, kOutputs.size());
  expect_image_input(check);
  Solov2Spec& spec = layout.spec;
  spec.classes = static_cast<int>(bundle.labels.size());
  const TensorSpec& scores = check.output("scores", 3, kBatchAxis);
  check.expect_size(scores, 1, static_cast<std::int64_t>(cells), "cells of decode.grid_sizes");
  check.expect_size(scores, 2, spec.classes, "one per label");
  const TensorSpec& kernels = check.output("kernels", 3, kBatchAxis);
  check.expect_size(kernels, 1, static_cast<std::int64_t>(cells), "cells of decode.grid_sizes");
  spec.channels = check.fixed_size(kernels, 2, "channels", kMaxSolov2Channels);
  const TensorSpec& features = check.output("mask_features", 4, kBatchAxis);
  check.expect_size(features, 1, spec.channels, "one per value of a kernel");
}

Layout read_layout(const BundleInfo& bundle) {
  Layout layout;
  read_parameters(bundle, layout);
  read_stage(bundle, layout);
  return layout;
}

class Solov2Context final : public ImageStageContext {
 public:
  using ImageStageContext::ImageStageContext;

  struct ImageScratch {
    std::vector<Solov2Level> levels;
    Solov2Scratch decode;
  };
  std::vector<ImageScratch> scratch;  // one per image of the batch
};

// Candidates with a score that is not above the caller's threshold are left out from the start.
// That saves their masks and changes no result:
// - A score never rises: it is multiplied by a mean of probabilities and by a decay of at most 1,
//   and rounding does not take a product with a factor of at most 1 above the other factor. So
//   what is left out could not have been a result.
// - It comes behind every entry that enters the matrix NMS with a score above the threshold. The
//   decay of an entry depends on those before it alone, and so do its places among the best
//   nms_top_k and keep_top_k: nothing that ends above the threshold sees a difference.
Solov2Spec spec_above(Solov2Spec spec, float threshold) {
  spec.score_threshold = std::max(spec.score_threshold, threshold);
  spec.result_threshold = threshold;
  return spec;
}

// Throws Error(bad_bundle) where a cell of the features is not kSolov2FeatureStride pixels.
void expect_feature_stride(const StageSpec& stage, PixelSize network, PixelSize features) {
  if (features.height * kSolov2FeatureStride == network.height &&
      features.width * kSolov2FeatureStride == network.width) {
    return;
  }
  throw Error(ErrorCode::bad_bundle,
              stage.file.string() + " (stage 'model'): output 'mask_features' has " +
                  std::to_string(features.height) + " x " + std::to_string(features.width) +
                  " cells for an image of " + std::to_string(network.height) + " x " +
                  std::to_string(network.width) + ", expected one for " +
                  std::to_string(kSolov2FeatureStride) + " x " +
                  std::to_string(kSolov2FeatureStride) + " pixels");
}

class Solov2Decoder final : public DeviceDecoder {
 public:
  Solov2Decoder(const Layout& layout, const StageSpec& stage) : layout_(layout), stage_(stage) {}

  [[nodiscard]] int capacity() const override {
    const MatrixNmsSpec& nms = layout_.spec.nms;
    return nms.post_top_k < 0 ? nms.pre_top_k : std::min(nms.post_top_k, nms.pre_top_k);
  }
  [[nodiscard]] bool takes_batches() const override { return false; }

  [[nodiscard]] std::string obstacle() const {
    if (layout_.grids.size() > INSTSEG_CUDA_MAX_LEVELS) {
      return "decode.grid_sizes has " + std::to_string(layout_.grids.size()) +
             " grids, the CUDA ops take " + std::to_string(INSTSEG_CUDA_MAX_LEVELS) + " at most";
    }
    return capacity_obstacle(capacity());
  }

  void enqueue(CudaQueue& queue, const DecodeCall& call) const override {
    const std::span<const std::int64_t> shape = call.outputs[kFeatures].shape;
    const PixelSize features{static_cast<int>(shape[2]), static_cast<int>(shape[3])};
    expect_feature_stride(stage_, call.batch.input, features);
    const Solov2Spec spec = spec_above(layout_.spec, call.threshold);
    std::array<instseg_cuda_solov2_level, INSTSEG_CUDA_MAX_LEVELS> levels{};
    const float* scores = call.output(kScores);
    const float* kernels = call.output(kKernels);
    for (std::size_t i = 0; i < layout_.grids.size(); ++i) {
      const Grid& grid = layout_.grids[i];
      levels[i] = {scores, kernels, grid.size, grid.minimum_area};
      scores += grid.cells() * static_cast<std::size_t>(spec.classes);
      kernels += grid.cells() * static_cast<std::size_t>(spec.channels);
    }
    instseg_cuda_solov2 decode{};
    decode.levels = levels.data();
    decode.level_count = static_cast<std::int32_t>(layout_.grids.size());
    decode.classes = spec.classes;
    decode.channels = spec.channels;
    decode.features = call.output(kFeatures);
    decode.rows = features.height;
    decode.columns = features.width;
    const PixelSize resized = call.batch.resized[static_cast<std::size_t>(call.first)];
    decode.resized_height = resized.height;
    decode.resized_width = resized.width;
    decode.image_height = call.image_sizes()[0];
    decode.image_width = call.image_sizes()[1];
    decode.score_threshold = spec.score_threshold;
    decode.mask_threshold = spec.mask_threshold;
    decode.result_threshold = spec.result_threshold;
    decode.nms = {spec.nms.pre_top_k, spec.nms.post_top_k, spec.nms.update_threshold,
                  spec.nms.kernel == MatrixNmsSpec::Kernel::linear ? 1 : 0, spec.nms.sigma};
    decode.out = call.out.list;
    decode.out.image_boxes = call.out.boxes;
    decode.masks = call.out.masks;
    queue.run("solov2", &instseg_cuda_ops::solov2, decode);
  }

 private:
  Layout layout_;
  StageSpec stage_;
};

class Solov2 final : public Family {
 public:
  Solov2(const BundleInfo& bundle, const SessionFactory& sessions)
      : input_(bundle.input),
        layout_(read_layout(bundle)),
        device_decoder_(layout_, find_stage(bundle, "model")),
        session_(sessions(with_output_order(find_stage(bundle, "model"), kOutputs))) {}

  [[nodiscard]] std::unique_ptr<FamilyContext> create_context() const override {
    return std::make_unique<Solov2Context>(*session_);
  }

  void run(FamilyContext& base, std::span<const BatchImage> images, float threshold,
           ThreadPool& pool, std::span<Result> results) const override {
    auto& context = static_cast<Solov2Context&>(base);
    context.scratch.resize(std::max(context.scratch.size(), images.size()));
    run_and_decode(context, pool, results, [&](std::size_t i) {
      decode(context, i, images[i], threshold, pool, results[i]);
    });
  }

  [[nodiscard]] std::string device_obstacle() const override { return device_decoder_.obstacle(); }

  [[nodiscard]] std::unique_ptr<DeviceRun> create_device_run(
      const CudaDevice& device) const override {
    return make_device_stage_run(*session_, device_decoder_, device, input_);
  }

 private:
  void decode(Solov2Context& context, std::size_t index, const BatchImage& image, float threshold,
              ThreadPool& pool, Result& result) const {
    Solov2Context::ImageScratch& scratch = context.scratch[index];
    split_levels(context, index, scratch.levels);
    result.instances.clear();
    for (Solov2Instance& found :
         decode_solov2(scratch.levels, context.output(kFeatures, index), geometry(context, image),
                       spec_above(layout_.spec, threshold), pool, scratch.decode)) {
      result.instances.push_back({found.class_id, found.score, found.box, std::move(found.mask)});
    }
  }

  void split_levels(const Solov2Context& context, std::size_t index,
                    std::vector<Solov2Level>& levels) const {
    std::span<const float> scores = context.output(kScores, index);
    std::span<const float> kernels = context.output(kKernels, index);
    const auto take = [](std::span<const float>& values, std::size_t count) {
      const std::span<const float> taken = values.first(count);
      values = values.subspan(count);
      return taken;
    };
    levels.clear();
    for (const Grid& grid : layout_.grids) {
      levels.push_back(
          {take(scores, grid.cells() * static_cast<std::size_t>(layout_.spec.classes)),
           take(kernels, grid.cells() * static_cast<std::size_t>(layout_.spec.channels)), grid.size,
           grid.minimum_area});
    }
  }

  [[nodiscard]] Solov2Geometry geometry(const Solov2Context& context,
                                        const BatchImage& image) const {
    const PixelSize features{context.output_size(kFeatures, 2), context.output_size(kFeatures, 3)};
    expect_feature_stride(session_->stage(), context.input_size(), features);
    return {features.height,        features.width, image.preprocess.height,
            image.preprocess.width, image.height,   image.width};
  }

  InputSpec input_;
  Layout layout_;
  Solov2Decoder device_decoder_;
  std::unique_ptr<Session> session_;
};

}  // namespace

void check_solov2(const BundleInfo& bundle) { (void)read_layout(bundle); }

std::unique_ptr<Family> create_solov2(const BundleInfo& bundle, const SessionFactory& sessions) {
  return std::make_unique<Solov2>(bundle, sessions);
}

}  // namespace instseg
