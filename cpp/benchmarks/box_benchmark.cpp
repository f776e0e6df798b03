// Boxes and regions, at the sizes of an 800 x 1344 network input of R-CNN and a 640 x 640 one of
// PP-YOLOE.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "ops/box_decode.hpp"
#include "ops/matrix_nms.hpp"
#include "ops/nms.hpp"
#include "ops/proposals.hpp"
#include "ops/roi_align.hpp"
#include "work.hpp"

namespace instseg::benchmarks {
namespace {

constexpr int kNetworkHeight = 800;
constexpr int kNetworkWidth = 1344;
constexpr int kRois = 1000;

// Arguments: RoIs, bins a side.
void align_rois(benchmark::State& state) {
  constexpr int kChannels = 256;
  const auto count = static_cast<int>(state.range(0));
  RoiAlignSpec spec;
  spec.channels = kChannels;
  spec.output_size = static_cast<int>(state.range(1));
  std::vector<std::vector<float>> maps;
  std::vector<FeatureLevel> levels;
  for (int stride = 4; stride <= 32; stride *= 2) {
    const int height = kNetworkHeight / stride;
    const int width = kNetworkWidth / stride;
    maps.push_back(normal(static_cast<std::size_t>(kChannels) * static_cast<std::size_t>(height) *
                              static_cast<std::size_t>(width),
                          0.0F, 1.0F, static_cast<unsigned>(stride)));
    levels.push_back({{}, height, width, static_cast<float>(stride)});
  }
  for (std::size_t i = 0; i < maps.size(); ++i) {
    levels[i].features = maps[i];
  }
  const std::vector<Box> rois = object_boxes(count, kNetworkHeight, kNetworkWidth, 0);
  const std::size_t bins =
      static_cast<std::size_t>(spec.output_size) * static_cast<std::size_t>(spec.output_size);
  std::vector<float> out(rois.size() * kChannels * bins);
  RoiAlignScratch scratch;
  for (auto _ : state) {
    roi_align(levels, rois, spec, pool(), scratch, out);
  }
  // Four cells of every sample are read, and written once per bin; a cell in several samples counts
  // for each.
  double samples = 0.0;
  for (const Box& roi : rois) {
    const float stride =
        levels[static_cast<std::size_t>(roi_level(roi, static_cast<int>(levels.size()), spec))]
            .stride;
    const float size = static_cast<float>(spec.output_size);
    const float per_bin_x = std::ceil(std::max((roi.x2 - roi.x1) / stride, 1.0F) / size);
    const float per_bin_y = std::ceil(std::max((roi.y2 - roi.y1) / stride, 1.0F) / size);
    samples += static_cast<double>(per_bin_x * per_bin_y) * static_cast<double>(bins);
  }
  declare(state,
          {bytes_of(out) + samples * kChannels * 4.0 * sizeof(float), samples * kChannels * 8.0});
}
BENCHMARK(align_rois)
    ->Args({kRois, 7})
    ->Args({200, 7})
    ->Args({kObjects, 14})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void generate_fpn_proposals(benchmark::State& state) {
  constexpr std::array<float, 3> kRatios = {0.5F, 1.0F, 2.0F};
  std::vector<std::vector<float>> scores;
  std::vector<std::vector<float>> deltas;
  std::vector<std::vector<Box>> anchors;
  std::vector<ProposalLevel> levels;
  double bytes = 0.0;
  for (int stride = 4; stride <= 64; stride *= 2) {
    const int height = (kNetworkHeight + stride - 1) / stride;
    const int width = (kNetworkWidth + stride - 1) / stride;
    const std::size_t cells =
        kRatios.size() * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    scores.push_back(normal(cells, -4.0F, 2.0F, static_cast<unsigned>(stride)));
    deltas.push_back(normal(4 * cells, 0.0F, 0.2F, static_cast<unsigned>(stride) + 1U));
    const std::array<float, 1> size = {static_cast<float>(8 * stride)};
    anchors.push_back(cell_anchors(size, kRatios));
    levels.push_back({{}, {}, height, width, static_cast<float>(stride), {}});
    bytes += bytes_of(scores.back());  // deltas are read for the best only
  }
  for (std::size_t i = 0; i < levels.size(); ++i) {
    levels[i].scores = scores[i];
    levels[i].deltas = deltas[i];
    levels[i].cell_anchors = anchors[i];
  }
  ProposalScratch scratch;
  Proposals proposals;
  for (auto _ : state) {
    generate_proposals(levels, kNetworkHeight, kNetworkWidth, {kRois, kRois, 0.7F, 0.0F}, pool(),
                       scratch, proposals);
  }
  declare(state, {bytes + bytes_of(proposals.boxes), 0.0});
}
BENCHMARK(generate_fpn_proposals)->UseRealTime()->Unit(benchmark::kMillisecond);

void decode_rcnn_boxes(benchmark::State& state) {
  const std::vector<Box> rois = object_boxes(kRois, kNetworkHeight, kNetworkWidth, 0);
  const auto deltas = normal(std::size_t{kRois} * kClasses * 4, 0.0F, 0.5F, 1);
  const auto logits = normal(std::size_t{kRois} * (kClasses + 1), 0.0F, 2.0F, 2);
  BoxDecodeSpec spec;
  spec.image_height = kNetworkHeight;
  spec.image_width = kNetworkWidth;
  std::vector<float> probabilities;
  BoxDecodeScratch scratch;
  for (auto _ : state) {
    const std::array<std::span<const float>, 1> sets = {logits};
    mean_softmax(sets, kClasses + 1, probabilities);
    benchmark::DoNotOptimize(decode_boxes(rois, deltas, probabilities, kClasses, spec, scratch));
  }
  declare(state, {bytes_of(logits) + bytes_of(rois), 0.0});
}
BENCHMARK(decode_rcnn_boxes)->UseRealTime()->Unit(benchmark::kMillisecond);

// Argument: one of how many scores is above the threshold.
void suppress_boxes_of_classes(benchmark::State& state) {
  constexpr std::size_t kAnchors = 8400;
  const std::vector<Box> boxes = object_boxes(static_cast<int>(kAnchors), 640.0F, 640.0F, 0);
  std::vector<float> scores(kAnchors * kClasses, 0.001F);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> score(0.011F, 1.0F);
  for (std::size_t i = 0; i < scores.size(); i += static_cast<std::size_t>(state.range(0))) {
    scores[i] = score(random);
  }
  NmsScratch scratch;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        multiclass_nms(boxes, scores, kClasses, {0.01F, 0.7F, 1000, 300}, scratch));
  }
  declare(state, {bytes_of(boxes) + bytes_of(scores), 0.0});
}
BENCHMARK(suppress_boxes_of_classes)
    ->Arg(1000)
    ->Arg(20)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// 500 masks of 200 x 336 cells, all of one class: every pair is compared.
void suppress_masks(benchmark::State& state) {
  constexpr std::size_t kEntries = 500;
  constexpr int kHeight = 200;
  constexpr int kWidth = 336;
  constexpr std::size_t kWords = std::size_t{kHeight} * kWidth / 64;
  const std::vector<Box> boxes = object_boxes(static_cast<int>(kEntries), kHeight, kWidth, 0);
  std::vector<std::uint64_t> words(kEntries * kWords);
  std::vector<int> areas(kEntries, 0);
  for (std::size_t i = 0; i < kEntries; ++i) {
    for (int y = static_cast<int>(boxes[i].y1); y < static_cast<int>(boxes[i].y2); ++y) {
      for (int x = static_cast<int>(boxes[i].x1); x < static_cast<int>(boxes[i].x2); ++x) {
        const auto bit = static_cast<std::size_t>(y * kWidth + x);
        words[i * kWords + bit / 64] |= std::uint64_t{1} << (bit % 64);
        ++areas[i];
      }
    }
  }
  std::vector<int> masks(kEntries);
  std::iota(masks.begin(), masks.end(), 0);
  const std::vector<int> class_ids(kEntries, 0);
  std::vector<float> scores = normal(kEntries, 0.5F, 0.1F, 1);
  MatrixNmsScratch scratch;
  for (auto _ : state) {
    benchmark::DoNotOptimize(matrix_nms({words, kWords}, masks, areas, class_ids, scores,
                                        MatrixNmsSpec{}, pool(), scratch));
  }
  declare(state, {bytes_of(words), 0.0});
}
BENCHMARK(suppress_masks)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace instseg::benchmarks
