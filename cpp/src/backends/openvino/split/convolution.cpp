#include "backends/openvino/split/convolution.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "backends/openvino/winograd/scratch.hpp"

namespace instseg::split {
namespace {

// What a core's cache (2 MB) has to hold at the same time: of the weights, a part of the depth ...
constexpr std::int64_t kWeightBytes = 1 << 20;
// ... and, where it takes several turns, the sums of a task's rows and outputs: half of that.
constexpr std::int64_t kBlockRows = 256;
constexpr std::int64_t kMostPanels = 16;
// Smaller tasks would split and finish more than they multiply.
constexpr std::int64_t kLeastRows = 64;
constexpr std::int64_t kLeastPanels = 8;
constexpr std::int64_t kTasksOfThread = 4;
// Outputs that take more are not kept in the cache, where the next operation would not find all of
// them anyway.
constexpr std::int64_t kOutputBytes = 4 << 20;
constexpr std::int64_t kSums = kRows * kOutputs;

std::int64_t divided_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

// Rounds to the nearest, of two equally near ones to the even one. value: finite.
Piece rounded(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<Piece>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

float widened(Piece piece) { return std::bit_cast<float>(std::uint32_t{piece} << 16); }

}  // namespace

// The rows of a product are pixels of the output, their values those of the input under the kernel.
struct Convolution::Call {
  const float* input;
  const float* residual;
  float* output;
  ImageShape from;
  ImageShape to;
  std::int64_t rows;
  std::int64_t blocks;  // tasks take a block of rows ...
  std::int64_t parts;   // ... and a part of the panels
  bool around_cache;
};

struct Convolution::Task {
  const Call& call;
  std::int64_t first_row;
  std::int64_t end_row;
  std::int64_t first_panel;
  std::int64_t end_panel;
};

Convolution::Convolution(const Kernels& kernels, std::span<const float> weights,
                         std::int64_t outputs, std::int64_t inputs, const Geometry& geometry,
                         std::span<const float> bias, Activation activation,
                         const Parallel& parallel)
    : kernels_(kernels),
      inputs_(inputs),
      outputs_(outputs),
      geometry_(geometry),
      rows_are_pixels_(geometry.kernel_height == 1 && geometry.kernel_width == 1 &&
                       geometry.stride == 1 && geometry.top == 0 && geometry.left == 0 &&
                       geometry.bottom == 0 && geometry.right == 0),
      activation_(activation),
      depth_(geometry.kernel_height * geometry.kernel_width * inputs),
      steps_(divided_up(depth_, kStep)),
      panels_(divided_up(outputs, kOutputs)) {
  const std::span<float> kept_bias = bias_.reserve(static_cast<std::size_t>(outputs));
  std::ranges::fill(kept_bias, 0.0F);
  std::ranges::copy(bias, kept_bias.begin());
  std::ranges::fill(weights_.reserve(static_cast<std::size_t>(panels_ * steps_ * kStepSize)),
                    Piece{0});
  const auto pack = [&](int panel) { pack_panel(weights, panel); };
  parallel.run(static_cast<int>(panels_), std::cref(pack));
}

// In a tile of weights, the two values that an instruction sums at once lie side by side.
void Convolution::pack_panel(std::span<const float> weights, std::int64_t panel) {
  const std::int64_t kernel_size = geometry_.kernel_height * geometry_.kernel_width;
  const std::int64_t first = panel * kOutputs;
  const std::int64_t count = std::min<std::int64_t>(kOutputs, outputs_ - first);
  for (std::int64_t o = 0; o < count; ++o) {
    for (std::int64_t k = 0; k < depth_; ++k) {
      const std::int64_t place = k / inputs_;
      const std::int64_t input = k % inputs_;
      float rest =
          weights[static_cast<std::size_t>(((first + o) * inputs_ + input) * kernel_size + place)];
      const std::int64_t in_step = k % kStep;
      Piece* const to = weights_.data() + (panel * steps_ + k / kStep) * kStepSize +
                        o / kTile * kTileSize + in_step / 2 * kStep + o % kTile * 2 + in_step % 2;
      for (int p = 0; p < kPieces; ++p) {
        to[p * 2 * kTileSize] = rounded(rest);
        rest -= widened(to[p * 2 * kTileSize]);
      }
    }
  }
}

ImageShape Convolution::output_shape(const ImageShape& input) const {
  const Geometry& g = geometry_;
  return {input.batch, (input.height + g.top + g.bottom - g.kernel_height) / g.stride + 1,
          (input.width + g.left + g.right - g.kernel_width) / g.stride + 1};
}

// Values [begin, end) of a row, with zeros for what is outside of the image, copied to `memory`; or
// where they lie, if they lie side by side.
const float* Convolution::row_values(const Call& call, std::int64_t row, std::int64_t begin,
                                     std::int64_t end, float* memory) const {
  const Geometry& g = geometry_;
  const std::int64_t x = row % call.to.width * g.stride - g.left;
  const std::int64_t y = row / call.to.width % call.to.height * g.stride - g.top;
  const std::int64_t image = row / call.to.width / call.to.height;
  const std::int64_t line = g.kernel_width * inputs_;  // of the kernel: side by side in the image
  const float* const corner =
      call.input + ((image * call.from.height + y) * call.from.width + x) * inputs_;
  const bool inside = y >= 0 && y + g.kernel_height <= call.from.height && x >= 0 &&
                      x + g.kernel_width <= call.from.width;
  if (inside && g.kernel_height == 1) {
    return corner + begin;
  }
  if (inside && end - begin == depth_) {
    kernels_.gather(corner, call.from.width * inputs_, g.kernel_height,
                    static_cast<std::int32_t>(line), memory);
    return memory;
  }
  // Of such a line, what is inside of the image.
  const std::int64_t inside_begin = std::max<std::int64_t>(0, -x) * inputs_;
  const std::int64_t inside_end =
      std::clamp<std::int64_t>(call.from.width - x, 0, g.kernel_width) * inputs_;
  float* to = memory;
  for (std::int64_t ky = begin / line; ky * line < end; ++ky) {
    const std::int64_t part_begin = std::max(begin - ky * line, std::int64_t{0});
    const std::int64_t part_end = std::min(end - ky * line, line);
    const bool row_inside = y + ky >= 0 && y + ky < call.from.height;
    const std::int64_t first =
        row_inside ? std::clamp(inside_begin, part_begin, part_end) : part_end;
    const std::int64_t last = row_inside ? std::clamp(inside_end, first, part_end) : part_end;
    const float* const from = corner + ky * call.from.width * inputs_;
    to = std::fill_n(to, first - part_begin, 0.0F);
    to = std::copy(from + first, from + last, to);
    to = std::fill_n(to, part_end - last, 0.0F);
  }
  return memory;
}

// Values [begin, end) of the group's rows. Rows behind the last one are that one again, so that
// nothing is multiplied that is no number.
void Convolution::find_rows(const Task& task, std::int64_t group, std::int64_t begin,
                            std::int64_t end, float* memory, Rows& rows) const {
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::int64_t row = std::min(task.first_row + group * kRows + r, task.end_row - 1);
    rows[static_cast<std::size_t>(r)] =
        rows_are_pixels_ ? task.call.input + row * inputs_ + begin
                         : row_values(task.call, row, begin, end, memory + r * (end - begin));
  }
}

Finishing Convolution::finishing(const Task& task, std::int64_t group, const float* sums) const {
  const std::int64_t row = task.first_row + group * kRows;
  const std::int64_t output = task.first_panel * kOutputs;
  const std::int64_t place = row * outputs_ + output;
  const float* const residual = task.call.residual;
  return {sums,
          bias_.data() + output,
          residual == nullptr ? nullptr : residual + place,
          task.call.output + place,
          outputs_,
          static_cast<std::int32_t>(std::min<std::int64_t>(kRows, task.end_row - row)),
          static_cast<std::int32_t>(std::min(task.end_panel * kOutputs, outputs_) - output),
          activation_,
          task.call.around_cache};
}

// Group after group of rows, with a block of the weights' depth that stays in the cache; then the
// next block. While a group is multiplied, the sums before it are finished and the next group is
// split.
void Convolution::run_task(const Call& call, std::int64_t index) const {
  const std::int64_t block = index / call.parts;
  const std::int64_t part = index % call.parts;
  const Task task{call, block * call.rows / call.blocks, (block + 1) * call.rows / call.blocks,
                  part * panels_ / call.parts, (part + 1) * panels_ / call.parts};
  const std::int64_t panels = task.end_panel - task.first_panel;
  const std::int64_t groups = divided_up(task.end_row - task.first_row, kRows);
  const std::int64_t block_steps = depth_block(panels);
  const std::int64_t depth_blocks = divided_up(steps_, block_steps);
  const std::int64_t items = depth_blocks * groups;
  const std::int64_t group_sums = panels * kSums;

  const winograd::ScratchPool::Lease scratch(winograd::ScratchPool::of_process());
  const std::int64_t group_pieces = block_steps * kStepSize;
  Piece* const pieces = scratch->pieces.reserve(static_cast<std::size_t>(2 * group_pieces)).data();
  // Of all groups where they are summed up in several blocks, else of two.
  const std::int64_t kept = depth_blocks > 1 ? groups : 2;
  float* const sums = scratch->products.reserve(static_cast<std::size_t>(kept * group_sums)).data();
  float* const values =
      scratch->transformed.reserve(static_cast<std::size_t>(kRows * block_steps * kStep)).data();
  Rows rows{};
  const auto splitting = [&](std::int64_t item) {
    const std::int64_t begin = item / groups * block_steps * kStep;
    const std::int64_t end = std::min(begin + block_steps * kStep, depth_);
    find_rows(task, item % groups, begin, end, values, rows);
    return Splitting{rows.data(), static_cast<std::int32_t>(end - begin),
                     pieces + item % 2 * group_pieces};
  };
  const auto finishing_of = [&](std::int64_t item) {
    return finishing(task, item % groups, sums + item % groups % kept * group_sums);
  };

  // The next but one group's values, where they lie side by side and are read once.
  const auto prefetching = [&](std::int64_t item) -> Prefetching {
    constexpr std::int64_t kLine = 64;
    const std::int64_t row = task.first_row + (item + 2) * kRows;
    if (!rows_are_pixels_ || depth_blocks > 1 || row >= task.end_row) {
      return {};
    }
    const std::int64_t bytes = inputs_ * static_cast<std::int64_t>(sizeof(float));
    return {std::bit_cast<const char*>(call.input + row * inputs_), bytes,
            static_cast<std::int32_t>(std::min<std::int64_t>(kRows, task.end_row - row)),
            static_cast<std::int32_t>(bytes / kLine)};
  };

  kernels_.begin();
  kernels_.split(splitting(0));
  for (std::int64_t item = 0; item < items; ++item) {
    const std::int64_t first_step = item / groups * block_steps;
    const Multiplication multiplication{
        pieces + item % 2 * group_pieces,
        weights_.data() + (task.first_panel * steps_ + first_step) * kStepSize,
        steps_ * kStepSize,
        static_cast<std::int32_t>(std::min(block_steps, steps_ - first_step)),
        static_cast<std::int32_t>(panels),
        first_step > 0,
        sums + item % groups % kept * group_sums};
    const auto next = item + 1 < items ? std::optional(splitting(item + 1)) : std::nullopt;
    const auto done =
        item - 1 >= items - groups ? std::optional(finishing_of(item - 1)) : std::nullopt;
    kernels_.multiply(multiplication, prefetching(item), next ? &*next : nullptr,
                      done ? &*done : nullptr);
  }
  kernels_.finish(finishing_of(items - 1));
  kernels_.end();
}

// Steps of the depth whose weights stay in the cache.
std::int64_t Convolution::depth_block(std::int64_t panels) const {
  const std::int64_t most =
      kWeightBytes / (panels * kStepSize * static_cast<std::int64_t>(sizeof(Piece)));
  // Of the same size.
  const std::int64_t blocks = divided_up(steps_, std::max<std::int64_t>(most, 2));
  return divided_up(steps_, blocks);
}

void Convolution::run(const float* input, const float* residual, float* output,
                      const ImageShape& shape, const Parallel& parallel) const {
  const ImageShape to = output_shape(shape);
  const std::int64_t rows = to.batch * to.height * to.width;
  const std::int64_t threads = parallel.threads();
  const bool one_depth = depth_block(panels_) == steps_;
  const std::int64_t float_size = sizeof(float);
  // More tasks than threads, where that does not make them too small: threads are not equally fast.
  const std::int64_t wanted = threads > 1 ? kTasksOfThread * threads : 1;
  std::int64_t blocks = divided_up(rows, kBlockRows);
  std::int64_t parts = 1;
  if (one_depth) {
    blocks = std::max(blocks, std::min(wanted, rows / kLeastRows));
    parts = std::min(panels_, divided_up(threads, blocks));
  } else {
    parts = std::max(divided_up(panels_, kMostPanels),
                     std::min(divided_up(wanted, blocks), divided_up(panels_, kLeastPanels)));
  }
  const bool aligned = std::bit_cast<std::uintptr_t>(output) % FloatBuffer::kAlignment == 0;
  const Call call{input,  residual, output,
                  shape,  to,       rows,
                  blocks, parts,    aligned && rows * outputs_ * float_size > kOutputBytes};
  const auto task = [&](int index) { run_task(call, index); };
  parallel.run(static_cast<int>(blocks * parts), std::cref(task));
}

}  // namespace instseg::split
