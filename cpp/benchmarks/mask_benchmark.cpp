// From small maps to the packed masks of 100 objects in a 1920 x 1080 image, and on to RLE.
#include <algorithm>
#include <array>
#include <string>

#include "ops/mask_decode.hpp"
#include "ops/mask_paste.hpp"
#include "ops/query_decode.hpp"
#include "ops/solov2_decode.hpp"
#include "work.hpp"

namespace instseg::benchmarks {
namespace {

double pixels(const std::vector<PackedMask>& masks) {
  double sum = 0.0;
  for (const PackedMask& mask : masks) {
    sum += static_cast<double>(mask.width()) * mask.height();
  }
  return sum;
}

double packed_bytes(const std::vector<PackedMask>& masks) {
  double sum = 0.0;
  for (const PackedMask& mask : masks) {
    sum += static_cast<double>(mask.words().size_bytes());
  }
  return sum;
}

template <class Body>
void for_each_object(Body&& body) {
  pool().parallel_for(0, kObjects, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      body(static_cast<std::size_t>(i));
    }
  });
}

void paste_masks(benchmark::State& state) {
  constexpr int kSide = 28;
  constexpr std::size_t kCells = std::size_t{kSide} * kSide;
  const std::vector<Box> boxes = object_boxes(kObjects, kImageHeight, kImageWidth, 0);
  std::vector<float> maps(kObjects * kCells);
  for (std::size_t i = 0; i < maps.size(); ++i) {  // an ellipse that fills its box
    const auto cell = static_cast<int>(i % kCells);
    const float x = (static_cast<float>(cell % kSide) + 0.5F) / kSide * 2.0F - 1.0F;
    const float y = (static_cast<float>(cell / kSide) + 0.5F) / kSide * 2.0F - 1.0F;
    maps[i] = std::clamp(1.5F - x * x - y * y, 0.0F, 1.0F);
  }
  std::vector<PackedMask> masks(kObjects);
  for (auto _ : state) {
    for_each_object([&](std::size_t i) {
      thread_local MaskPasteScratch scratch;
      masks[i] = paste_mask(std::span(maps).subspan(i * kCells, kCells), kSide, kSide, boxes[i],
                            kImageHeight, kImageWidth, 0.5F, scratch);
    });
  }
  declare(state, {bytes_of(maps) + packed_bytes(masks), 3.0 * pixels(masks)});
}
BENCHMARK(paste_masks)->UseRealTime()->Unit(benchmark::kMillisecond);

constexpr int kFeatureSide = 160;
constexpr int kNetworkSide = 640;

void decode_prototype_masks(benchmark::State& state) {
  constexpr int kChannels = 32;
  const std::vector<Box> boxes = object_boxes(kObjects, kNetworkSide, kNetworkSide, 0);
  const auto prototypes =
      normal(std::size_t{kChannels} * kFeatureSide * kFeatureSide, 0.0F, 1.0F, 1);
  const auto coefficients = normal(std::size_t{kChannels} * kObjects, 0.0F, 0.5F, 2);
  std::vector<PackedMask> masks(kObjects);
  for (auto _ : state) {
    for_each_object([&](std::size_t i) {
      thread_local MaskScratch scratch;
      masks[i] = decode_prototype_mask(prototypes, kChannels, kFeatureSide, kFeatureSide,
                                       std::span(coefficients).subspan(i * kChannels, kChannels),
                                       boxes[i], kImageHeight, kImageWidth,
                                       {kNetworkSide, kNetworkSide, 0.5F}, scratch);
    });
  }
  double cells = 0.0;
  for (const Box& box : boxes) {
    cells += static_cast<double>(box.x2 - box.x1) * static_cast<double>(box.y2 - box.y1) / 16.0;
  }
  declare(state, {bytes_of(prototypes) + bytes_of(coefficients) + packed_bytes(masks),
                  2.0 * kChannels * cells + 6.0 * pixels(masks)});
}
BENCHMARK(decode_prototype_masks)->UseRealTime()->Unit(benchmark::kMillisecond);

// A plane per axis and a constant, as in benchmarks/synthetic_outputs.py; the other channels are
// zero.
std::vector<float> make_planes(int channels, int height, int width) {
  const auto cells = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  std::vector<float> features(static_cast<std::size_t>(channels) * cells);
  for (std::size_t cell = 0; cell < cells; ++cell) {
    const float x = (static_cast<float>(cell % static_cast<std::size_t>(width)) + 0.5F) /
                    static_cast<float>(width);
    const float y = (static_cast<float>(cell / static_cast<std::size_t>(width)) + 0.5F) /
                    static_cast<float>(height);
    const std::array<float, 5> planes = {1.0F, x, y, x * x, y * y};
    for (std::size_t plane = 0; plane < planes.size(); ++plane) {
      features[plane * cells + cell] = planes[plane];
    }
  }
  return features;
}

// Of the planes: an ellipse for each box, which is in parts of the image.
std::vector<float> make_ellipses(const std::vector<Box>& boxes, int channels) {
  std::vector<float> values(boxes.size() * static_cast<std::size_t>(channels), 0.0F);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const Box& box = boxes[i];
    const float cx = (box.x1 + box.x2) / 2.0F;
    const float cy = (box.y1 + box.y2) / 2.0F;
    const float a = 4.0F / ((box.x2 - box.x1) * (box.x2 - box.x1));
    const float b = 4.0F / ((box.y2 - box.y1) * (box.y2 - box.y1));
    const std::array<float, 5> weights = {1.0F - a * cx * cx - b * cy * cy, 2.0F * a * cx,
                                          2.0F * b * cy, -a, -b};
    std::ranges::copy(weights, values.begin() + static_cast<std::ptrdiff_t>(i) * channels);
  }
  return values;
}

// Argument: channels of the mask features.
void decode_query_masks(benchmark::State& state) {
  constexpr int kQueries = 300;
  constexpr int kCells = kFeatureSide * kFeatureSide;
  const auto channels = static_cast<int>(state.range(0));
  const std::vector<float> features = make_planes(channels, kFeatureSide, kFeatureSide);
  const std::vector<Box> objects = object_boxes(kQueries, 1.0F, 1.0F, 0);
  const std::vector<float> embeddings = make_ellipses(objects, channels);
  std::vector<float> boxes;
  for (const Box& box : objects) {
    boxes.insert(boxes.end(), {(box.x1 + box.x2) / 2.0F, (box.y1 + box.y2) / 2.0F, box.x2 - box.x1,
                               box.y2 - box.y1});
  }
  std::vector<float> logits = normal(std::size_t{kQueries} * kClasses, -12.0F, 1.0F, 3);
  for (std::size_t i = 0; i < kObjects; ++i) {
    logits[i * kClasses + i % kClasses] = 3.0F;
  }
  QueryScratch scratch;
  std::vector<QueryInstance> found;
  for (auto _ : state) {
    found = decode_queries({logits, boxes, embeddings, features, kQueries, kClasses, channels,
                            kFeatureSide, kFeatureSide},
                           kImageHeight, kImageWidth, {kObjects, 0.5F, 0.5F}, pool(), scratch);
  }
  if (found.size() != kObjects) {
    state.SkipWithError("not the expected number of objects");
    return;
  }
  std::vector<PackedMask> masks;
  for (QueryInstance& instance : found) {
    masks.push_back(std::move(instance.mask));
  }
  declare(state,
          {bytes_of(features) + bytes_of(embeddings) + bytes_of(logits) + packed_bytes(masks),
           2.0 * channels * kCells * kObjects + 4.0 * pixels(masks)});
}
BENCHMARK(decode_query_masks)->Arg(32)->Arg(128)->UseRealTime()->Unit(benchmark::kMillisecond);

// An 800 x 1344 input, one candidate per object.
void decode_solov2_masks(benchmark::State& state) {
  constexpr int kChannels = 256;
  constexpr int kGrid = 40;
  const Solov2Geometry geometry{200, 336, 750, 1333, kImageHeight, kImageWidth};
  const int cells = geometry.feature_height * geometry.feature_width;
  const std::vector<float> features =
      make_planes(kChannels, geometry.feature_height, geometry.feature_width);
  std::vector<float> scores(std::size_t{kGrid} * kGrid * kClasses, 0.0F);
  std::vector<float> kernels(std::size_t{kGrid} * kGrid * kChannels, 0.0F);
  const auto ellipses = make_ellipses(object_boxes(kObjects, 1.0F, 1.0F, 0), kChannels);
  std::ranges::copy(ellipses, kernels.begin());
  for (std::size_t i = 0; i < kObjects; ++i) {
    scores[i * kClasses + i % kClasses] = 0.9F;
  }
  const std::array levels = {Solov2Level{scores, kernels, kGrid, 8}};
  Solov2Spec spec;
  spec.classes = kClasses;
  spec.channels = kChannels;
  Solov2Scratch scratch;
  std::vector<Solov2Instance> found;
  for (auto _ : state) {
    found = decode_solov2(levels, features, geometry, spec, pool(), scratch);
  }
  if (found.size() < kObjects / 2) {
    state.SkipWithError("not the expected number of objects");
    return;
  }
  std::vector<PackedMask> masks;
  for (Solov2Instance& instance : found) {
    masks.push_back(std::move(instance.mask));
  }
  declare(state, {bytes_of(features) + bytes_of(scores) + packed_bytes(masks),
                  2.0 * kChannels * cells * kObjects + 6.0 * pixels(masks)});
}
BENCHMARK(decode_solov2_masks)->UseRealTime()->Unit(benchmark::kMillisecond);

// COCO's compressed run lengths of the whole image.
void encode_masks_as_rle(benchmark::State& state) {
  constexpr int kSide = 28;
  const std::vector<Box> boxes = object_boxes(kObjects, kImageHeight, kImageWidth, 0);
  const std::vector<float> map(std::size_t{kSide} * kSide, 1.0F);
  MaskPasteScratch scratch;
  std::vector<PackedMask> masks;
  for (const Box& box : boxes) {
    masks.push_back(paste_mask(map, kSide, kSide, box, kImageHeight, kImageWidth, 0.5F, scratch));
  }
  std::vector<std::string> texts(kObjects);
  for (auto _ : state) {
    for_each_object(
        [&](std::size_t i) { texts[i] = encode_rle(masks[i], kImageHeight, kImageWidth); });
  }
  declare(state, {packed_bytes(masks), 0.0});
}
BENCHMARK(encode_masks_as_rle)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace instseg::benchmarks
