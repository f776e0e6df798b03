#include "backends/openvino/queries/mask_extents.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "backends/openvino/winograd/scratch.hpp"

namespace instseg::queries {
namespace {

// Of the rows, each part with its own largest values of the columns: more parts than threads, as
// those are not equally fast.
constexpr int kPartsOfThread = 2;
constexpr float kLowest = std::numeric_limits<float>::lowest();

// One call. Queries are in panels of the kernels; those behind the last one are zeros.
class Call {
 public:
  Call(const MaskExtents& extents, const winograd::Kernels& products, const Kernels& kernels,
       int threads)
      : e_(extents),
        products_(products),
        kernels_(kernels),
        panels_((extents.queries + products.outputs - 1) / products.outputs),
        padded_(panels_ * products.outputs),
        parts_(std::max(1, std::min(kPartsOfThread * threads, extents.height))),
        embeddings_(static_cast<std::size_t>(padded_) * static_cast<std::size_t>(extents.channels)),
        of_rows_(static_cast<std::size_t>(padded_) * static_cast<std::size_t>(extents.height),
                 kLowest),
        of_columns_(static_cast<std::size_t>(parts_) * columns_size(), kLowest) {
    for (std::int32_t query = 0; query < e_.queries; ++query) {
      float* const panel = this->panel(query / products_.outputs) + query % products_.outputs;
      const float* const embedding = e_.embeddings + std::int64_t{query} * e_.channels;
      for (std::int32_t c = 0; c < e_.channels; ++c) {
        panel[std::int64_t{c} * products_.outputs] = embedding[c];
      }
    }
  }

  void run(const winograd::Parallel& parallel) {
    parallel.run(parts_, [&](int part) { run_part(part); });
    for (int part = 1; part < parts_; ++part) {
      const float* const others = columns(part);
      std::transform(others, others + columns_size(), columns(0), columns(0),
                     [](float a, float b) { return std::max(a, b); });
    }
    turn(of_rows_.data(), e_.height, e_.of_rows);
    turn(columns(0), e_.width, e_.of_columns);
  }

 private:
  [[nodiscard]] std::size_t columns_size() const {
    return static_cast<std::size_t>(padded_) * static_cast<std::size_t>(e_.width);
  }
  float* panel(std::int32_t number) {
    return embeddings_.data() + std::int64_t{number} * e_.channels * products_.outputs;
  }
  float* columns(int part) {
    return of_columns_.data() + static_cast<std::size_t>(part) * columns_size();
  }
  [[nodiscard]] std::int32_t begin_of(int part) const { return part * e_.height / parts_; }

  void run_part(int part) {
    const winograd::ScratchPool::Lease scratch(winograd::ScratchPool::of_process());
    float* const products =
        scratch->products.reserve(static_cast<std::size_t>(products_.tiles * products_.outputs))
            .data();
    for (std::int32_t y = begin_of(part); y < begin_of(part + 1); ++y) {
      const float* const row = e_.features + std::int64_t{y} * e_.width * e_.channels;
      for (std::int32_t p = 0; p < panels_; ++p) {
        const std::int32_t query = p * products_.outputs;
        float* const largest = of_rows_.data() + std::int64_t{y} * padded_ + query;
        for (std::int32_t x = 0; x < e_.width; x += products_.tiles) {
          const std::int32_t pixels = std::min(products_.tiles, e_.width - x);
          products_.multiply(row + std::int64_t{x} * e_.channels, e_.channels, panel(p),
                             e_.channels, pixels, products, products_.outputs);
          kernels_.take_largest({products, pixels}, largest,
                                columns(part) + std::int64_t{x} * padded_ + query, padded_);
        }
      }
    }
  }

  // [size][padded_] as [queries][size].
  void turn(const float* values, std::int32_t size, float* turned) const {
    for (std::int32_t query = 0; query < e_.queries; ++query) {
      for (std::int32_t i = 0; i < size; ++i) {
        turned[std::int64_t{query} * size + i] = values[std::int64_t{i} * padded_ + query];
      }
    }
  }

  const MaskExtents& e_;
  const winograd::Kernels& products_;
  const Kernels& kernels_;
  std::int32_t panels_;
  std::int32_t padded_;
  int parts_;
  std::vector<float> embeddings_;  // [panels][channels][products.outputs]
  std::vector<float> of_rows_;     // [height][padded_]
  std::vector<float> of_columns_;  // [parts_][width][padded_]
};

}  // namespace

void find_extents(const MaskExtents& extents, const winograd::Kernels& products,
                  const Kernels& kernels, const winograd::Parallel& parallel) {
  Call(extents, products, kernels, parallel.threads()).run(parallel);
}

}  // namespace instseg::queries
