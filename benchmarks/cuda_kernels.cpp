// Times the CUDA ops on the sizes of the models: prints one JSON object.
//   instseg_cuda_bench [seconds per op]
// Wants INSTSEG_CUDA_LIBRARY, the path of libinstseg_cuda.so.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "cuda/machine.hpp"

namespace instseg::testing_cuda {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<float> random_floats(std::int64_t count, float low, float high) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::uniform_real_distribution<float> value(low, high);
  std::vector<float> values(static_cast<std::size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return value(random); });
  return values;
}

// Boxes of 20 to 200 pixels in an image of that size.
std::vector<float> random_boxes(std::int64_t count, float height, float width) {
  const std::vector<float> places = random_floats(count * 4, 0.0F, 1.0F);
  std::vector<float> boxes;
  for (std::size_t i = 0; i < places.size(); i += 4) {
    const float x = places[i] * (width - 200.0F);
    const float y = places[i + 1] * (height - 200.0F);
    boxes.insert(boxes.end(),
                 {x, y, x + 20.0F + 180.0F * places[i + 2], y + 20.0F + 180.0F * places[i + 3]});
  }
  return boxes;
}

// Planes of square patches, so that masks have few and long edges.
std::vector<float> patches(std::int64_t planes, int side) {
  constexpr int kPatch = 32;
  const std::int64_t row = side / kPatch;
  const std::vector<float> values = random_floats(planes * row * row, -1.0F, 1.0F);
  std::vector<float> cells;
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    for (int i = 0; i < side * side; ++i) {
      const std::int64_t y = i / side / kPatch;
      cells.push_back(
          values[static_cast<std::size_t>((plane * row + y) * row + i % side / kPatch)]);
    }
  }
  return cells;
}

std::vector<std::int32_t> counting(std::int64_t count, int end) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(i * 37) % end;
  }
  return values;
}

// One op, many times: the mean of groups of calls, so that the wait between weighs little.
class Bench {
 public:
  Bench(Machine& machine, double seconds) : machine_(machine), seconds_(seconds) {}

  template <class Arguments>
  void run(const char* name, int batch,
           int32_t (*op)(const Arguments*, instseg_cuda_workspace*, void*, instseg_message*),
           const Arguments& arguments) {
    instseg_cuda_workspace workspace{nullptr, 0};
    const auto group = [&](int calls) {
      const auto begin = Clock::now();
      for (int i = 0; i < calls; ++i) {
        machine_.start(op, arguments, workspace);
      }
      machine_.wait();
      return std::chrono::duration<double>(Clock::now() - begin).count() / calls;
    };
    group(3);  // warm up
    const double first = group(1);
    const int calls = std::clamp(static_cast<int>(seconds_ / 10.0 / first), 1, 1000);
    std::vector<double> times;
    for (double sum = 0.0; sum < seconds_ || times.size() < 3;) {
      times.push_back(group(calls));
      sum += times.back() * calls;
    }
    std::sort(times.begin(), times.end());
    std::printf(
        "%s\n    {\"op\": \"%s\", \"batch\": %d, \"min_ms\": %.5f, \"median_ms\": %.5f, "
        "\"calls\": %zu, \"workspace_bytes\": %zu}",
        first_ ? "" : ",", name, batch, times.front() * 1e3, times[times.size() / 2] * 1e3,
        times.size() * static_cast<std::size_t>(calls), workspace.size);
    first_ = false;
  }

 private:
  Machine& machine_;
  double seconds_;
  bool first_ = true;
};

instseg_cuda_detections detections(Machine& machine, int images, int capacity) {
  const std::int64_t total = std::int64_t{images} * capacity;
  return {capacity,
          machine.blank<std::int32_t>(images),
          machine.blank<std::int32_t>(total),
          machine.blank<std::int32_t>(total),
          machine.blank<float>(total),
          machine.blank<float>(total * 4),
          machine.blank<float>(total * 4)};
}

instseg_cuda_masks masks(Machine& machine, std::int64_t instances) {
  constexpr std::int64_t kWords = 8'000'000;
  return {machine.blank<std::int32_t>(instances * 4), machine.blank<std::int64_t>(instances + 1),
          machine.blank<std::uint32_t>(kWords), kWords};
}

// 1080p photographs to 640 x 640.
void preprocess(Bench& bench, const instseg_cuda_ops& ops, int batch) {
  Machine machine(ops);
  const std::uint8_t* const pixels =
      machine.upload(std::vector<std::uint8_t>(std::size_t{1920} * 1080 * 3, 127));
  const std::vector<instseg_cuda_image> images(
      static_cast<std::size_t>(batch), {pixels, 1920 * 3, 1080, 1920, INSTSEG_CUDA_BGR8, 640, 640});
  instseg_cuda_preprocess op{images.data(),
                             batch,
                             0,
                             1,
                             1.0F / 255.0F,
                             {},
                             {1, 1, 1},
                             640,
                             640,
                             0,
                             machine.blank<float>(std::int64_t{batch} * 3 * 640 * 640)};
  op.resize = INSTSEG_CUDA_FIXED_LINEAR;
  bench.run("preprocess 1080p to 640, linear, fp32", batch, ops.preprocess, op);
  op.resize = INSTSEG_CUDA_CUBIC;
  bench.run("preprocess 1080p to 640, cubic, fp32", batch, ops.preprocess, op);
  op.out_type = INSTSEG_FLOAT16;
  bench.run("preprocess 1080p to 640, cubic, fp16", batch, ops.preprocess, op);
}

// PP-YOLOE_seg at 640: 8400 anchors, 80 classes, 20 instances in 1080p.
void ppyoloe_seg(Bench& bench, const instseg_cuda_ops& ops, int batch) {
  Machine machine(ops);
  constexpr int kAnchors = 8400, kClasses = 80, kCapacity = 100, kChannels = 32, kSide = 160;
  const std::int64_t images = batch;
  std::vector<float> scores = random_floats(images * kAnchors * kClasses, 0.0F, 1.0F);
  for (float& score : scores) {
    score = score * score * score * score * score;  // few are high
  }
  const float* const boxes = machine.upload(random_boxes(images * kAnchors, 640, 640));
  bench.run("multiclass NMS, 8400 anchors, 80 classes", batch, ops.multiclass_nms,
            instseg_cuda_multiclass_nms{boxes,
                                        machine.upload(scores),
                                        batch,
                                        kClasses,
                                        kAnchors,
                                        {0.5F, 0.6F, 1000, kCapacity},
                                        detections(machine, batch, kCapacity)});
  const std::vector<std::int32_t> sizes = [&] {
    std::vector<std::int32_t> all;
    for (int i = 0; i < batch; ++i) {
      all.insert(all.end(), {1080, 1920});
    }
    return all;
  }();
  bench.run("prototype masks, 20 of 1080p", batch, ops.prototype_masks,
            instseg_cuda_prototype_masks{
                machine.upload(patches(images * kChannels, kSide)),
                machine.upload(random_floats(images * kChannels * kAnchors, -1.0F, 1.0F)),
                machine.upload(counting(images * kCapacity, kAnchors)), boxes,
                machine.upload(std::vector<std::int32_t>(static_cast<std::size_t>(batch), 20)),
                kCapacity, batch, kChannels, kAnchors, kSide, kSide, 640, 640, sizes.data(), 0.5F,
                masks(machine, images * kCapacity)});
}

// Mask-RT-DETR at 640: 300 queries, 80 classes, 20 instances in 1080p, and their run lengths.
void mask_rtdetr(Bench& bench, const instseg_cuda_ops& ops, int batch) {
  Machine machine(ops);
  constexpr int kQueries = 300, kClasses = 80, kCapacity = 100, kChannels = 32, kSide = 160;
  const std::int64_t images = batch;
  std::vector<std::int32_t> sizes;
  for (int i = 0; i < batch; ++i) {
    sizes.insert(sizes.end(), {1080, 1920});
  }
  bench.run("query select, 300 queries, 80 classes", batch, ops.query_select,
            instseg_cuda_query_select{
                machine.upload(random_floats(images * kQueries * kClasses, -8.0F, 2.0F)),
                machine.upload(random_floats(images * kQueries * 4, 0.0F, 1.0F)), batch, kQueries,
                kClasses, kCapacity, 0.5F, sizes.data(), detections(machine, batch, kCapacity)});
  const std::int32_t* const counts =
      machine.upload(std::vector<std::int32_t>(static_cast<std::size_t>(batch), 20));
  const instseg_cuda_query_masks op{
      machine.upload(random_floats(images * kQueries * kChannels, -1.0F, 1.0F)),
      machine.upload(patches(images * kChannels, kSide)),
      machine.upload(counting(images * kCapacity, kQueries)),
      counts,
      kCapacity,
      batch,
      kChannels,
      kQueries,
      kSide,
      kSide,
      sizes.data(),
      0.5F,
      masks(machine, images * kCapacity)};
  bench.run("query masks, 20 of 1080p", batch, ops.query_masks, op);
  constexpr std::int64_t kRuns = 4'000'000;
  bench.run("run lengths, 20 masks of 1080p", batch, ops.run_lengths,
            instseg_cuda_run_lengths{op.out, counts, kCapacity, batch, sizes.data(),
                                     machine.blank<std::int64_t>(images * kCapacity + 1),
                                     machine.blank<std::uint32_t>(kRuns), kRuns});
  if (batch == 1) {
    bench.run(
        "unpack masks, 20 of 1080p", batch, ops.unpack_masks,
        instseg_cuda_unpack_masks{op.out, 20, 1080, 1920,
                                  machine.blank<std::uint8_t>(std::int64_t{20} * 1080 * 1920)});
  }
}

// Mask R-CNN with FPN at 800 x 1344.
void mask_rcnn(Bench& bench, const instseg_cuda_ops& ops, int batch) {
  Machine machine(ops);
  constexpr int kRois = 1000, kClasses = 80, kCapacity = 100, kChannels = 256;
  const std::int64_t images = batch;
  std::vector<instseg_cuda_proposal_level> levels;
  std::vector<instseg_cuda_feature_level> maps;
  for (int stride = 4; stride <= 64; stride *= 2) {
    const int height = 800 / stride, width = 1344 / stride;
    const std::int64_t anchors = images * 3 * height * width;
    levels.push_back({machine.upload(random_floats(anchors, 0.0F, 1.0F)),
                      machine.upload(random_floats(anchors * 4, -0.5F, 0.5F)),
                      machine.upload(random_boxes(3, 400, 400)), 3, height, width,
                      static_cast<float>(stride)});
    if (stride <= 32) {
      maps.push_back({machine.upload(random_floats(images * kChannels * height * width, -1, 1)),
                      height, width, static_cast<float>(stride)});
    }
  }
  std::vector<float> resized;
  std::vector<std::int32_t> sizes;
  for (int i = 0; i < batch; ++i) {
    resized.insert(resized.end(), {800.0F, 1344.0F});
    sizes.insert(sizes.end(), {1080, 1814});
  }
  bench.run("proposals, 5 levels of 800 x 1344", batch, ops.proposals,
            instseg_cuda_proposals{levels.data(), 5, batch, resized.data(), 1000, kRois, 0.7F, 0.0F,
                                   kRois, machine.blank<std::int32_t>(batch),
                                   machine.blank<float>(images * kRois * 4),
                                   machine.blank<float>(images * kRois)});
  const auto count_of = [&](int count) {
    return machine.upload(std::vector<std::int32_t>(static_cast<std::size_t>(batch), count));
  };
  const float* const rois = machine.upload(random_boxes(images * kRois, 800, 1344));
  instseg_cuda_roi_align align{maps.data(),
                               4,
                               batch,
                               kChannels,
                               7,
                               0,
                               0,
                               2,
                               4,
                               224.0F,
                               rois,
                               count_of(kRois),
                               kRois,
                               INSTSEG_FLOAT32,
                               machine.blank<float>(images * kRois * kChannels * 49)};
  bench.run("RoIAlign, 1000 RoIs, 256 x 7 x 7, fp32", batch, ops.roi_align, align);
  align.out_type = INSTSEG_FLOAT16;
  bench.run("RoIAlign, 1000 RoIs, 256 x 7 x 7, fp16", batch, ops.roi_align, align);
  instseg_cuda_box_detections boxes{};
  boxes.logits[0] = machine.upload(random_floats(images * kRois * (kClasses + 1), -3.0F, 5.0F));
  boxes.sets = 1;
  boxes.deltas_per_class = 1;
  boxes.deltas = machine.upload(random_floats(images * kRois * kClasses * 4, -1.0F, 1.0F));
  boxes.rois = rois;
  boxes.counts = align.counts;
  boxes.capacity = kRois;
  boxes.images = batch;
  boxes.classes = kClasses;
  std::fill_n(boxes.weights, 4, 10.0F);
  boxes.resized_sizes = resized.data();
  boxes.image_sizes = sizes.data();
  boxes.nms = {0.05F, 0.5F, -1, kCapacity};
  boxes.out = detections(machine, batch, kCapacity);
  bench.run("box detections, 1000 RoIs, 80 classes", batch, ops.box_detections, boxes);
  bench.run(
      "paste masks, 20 of 1080p", batch, ops.paste_masks,
      instseg_cuda_paste_masks{
          machine.upload(random_floats(images * kCapacity * kClasses * 28 * 28, -3.0F, 3.0F)),
          machine.upload(counting(images * kCapacity, kClasses)), rois, count_of(20), kCapacity,
          batch, kClasses, 28, 28, sizes.data(), 0.5F, masks(machine, images * kCapacity)});
}

// SOLOv2 at 800 x 1344, about 200 candidates.
void solov2(Bench& bench, const instseg_cuda_ops& ops) {
  Machine machine(ops);
  constexpr int kClasses = 80, kChannels = 256, kRows = 200, kColumns = 336, kCapacity = 100;
  std::vector<instseg_cuda_solov2_level> levels;
  for (const int grid : {40, 36, 24, 16, 12}) {
    const std::int64_t cells = std::int64_t{grid} * grid;
    std::vector<float> scores(static_cast<std::size_t>(cells * kClasses));
    for (std::size_t i = 0; i < scores.size(); i += 1501) {
      scores[i] = 0.5F;
    }
    levels.push_back({machine.upload(scores),
                      machine.upload(random_floats(cells * kChannels, -0.3F, 0.3F)), grid, 0});
  }
  instseg_cuda_solov2 op{};
  op.levels = levels.data();
  op.level_count = 5;
  op.classes = kClasses;
  op.channels = kChannels;
  op.features = machine.upload(random_floats(std::int64_t{kChannels} * kRows * kColumns, -1, 1));
  op.rows = kRows;
  op.columns = kColumns;
  op.resized_height = 800;
  op.resized_width = 1344;
  op.image_height = 1080;
  op.image_width = 1814;
  op.score_threshold = 0.1F;
  op.mask_threshold = 0.5F;
  op.result_threshold = 0.3F;
  op.nms = {500, kCapacity, 0.05F, 0, 2.0F};
  op.out = detections(machine, 1, kCapacity);
  op.masks = masks(machine, kCapacity);
  bench.run("SOLOv2 decode, 200 candidates, 800 x 1344", 1, ops.solov2, op);
}

int run(double seconds) {
  std::string reason;
  const instseg_cuda_ops* const ops = find_ops(reason);
  if (ops == nullptr) {
    std::fprintf(stderr, "instseg_cuda_bench: %s\n", reason.c_str());
    return 1;
  }
  char name[256] = "unknown";
  char text[256] = {};
  instseg_message message{text, sizeof text};
  std::int32_t capability = 0;
  if (ops->describe_device != nullptr) {
    (void)ops->describe_device(0, name, sizeof name, &capability, &message);
  }
  std::printf("{\n  \"gpu\": \"%s\",\n  \"compute_capability\": %d,\n  \"ops\": [", name,
              capability);
  Machine machine(*ops);
  for (const int batch : {1, 8}) {
    Bench bench(machine, seconds);
    if (batch != 1) {
      std::printf(",");
    }
    preprocess(bench, *ops, batch);
    ppyoloe_seg(bench, *ops, batch);
    mask_rtdetr(bench, *ops, batch);
    mask_rcnn(bench, *ops, batch);
    if (batch == 1) {
      solov2(bench, *ops);
    }
  }
  std::printf("\n  ]\n}\n");
  return 0;
}

}  // namespace
}  // namespace instseg::testing_cuda

int main(int argc, char** argv) {
  try {
    return instseg::testing_cuda::run(argc > 1 ? std::atof(argv[1]) : 1.0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "instseg_cuda_bench: %s\n", error.what());
    return 1;
  }
}
