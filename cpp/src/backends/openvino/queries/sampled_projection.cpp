#include "backends/openvino/queries/sampled_projection.hpp"

#include <algorithm>
#include <numeric>

#include "backends/openvino/winograd/scratch.hpp"

namespace instseg::queries {

SampledProjection::SampledProjection(const winograd::Kernels& products, const Kernels& kernels,
                                     std::span<const float> projection, std::int64_t inputs,
                                     std::int64_t heads, std::span<const float> bias)
    : products_(products),
      kernels_(kernels),
      inputs_(inputs),
      heads_(heads),
      outputs_(static_cast<std::int64_t>(projection.size()) / (inputs * heads)),
      bias_(bias.begin(), bias.end()) {
  float* packed = weights_.reserve(projection.size()).data();
  const std::int64_t all = heads_ * outputs_;
  for (std::int64_t panel = 0; panel < all; panel += products_.outputs) {
    for (std::int64_t i = 0; i < inputs_; ++i) {
      packed = std::copy_n(projection.data() + i * all + panel, products_.outputs, packed);
    }
  }
}

void SampledProjection::run(const Samples& samples, float* output,
                            const winograd::Parallel& parallel) const {
  const std::int64_t block = products_.tiles;
  const std::int64_t blocks = (samples.queries + block - 1) / block;
  parallel.run(static_cast<int>(blocks), [&](int number) {
    const std::int64_t first = number * block;
    run_block(samples, first, static_cast<std::int32_t>(std::min(block, samples.queries - first)),
              output);
  });
}

void SampledProjection::run_block(const Samples& samples, std::int64_t first, std::int32_t queries,
                                  float* output) const {
  const winograd::ScratchPool::Lease scratch(winograd::ScratchPool::of_process());
  float* const sums =
      scratch->transformed.reserve(static_cast<std::size_t>(queries * inputs_)).data();
  const std::int64_t panel_size = inputs_ * products_.outputs;
  for (std::int64_t head = 0; head < heads_; ++head) {
    const auto sample_of = [&](std::int32_t query) {
      return ((first + query) * heads_ + head) * samples.count;
    };
    float* const result = output + (first * heads_ + head) * outputs_;
    for (std::int32_t query = 0; query < queries; ++query) {
      kernels_.sum_rows({samples.pixels, inputs_, samples.positions + sample_of(query),
                         samples.weights + sample_of(query), samples.count},
                        sums + query * inputs_);
    }
    for (std::int64_t o = 0; o < outputs_; o += products_.outputs) {
      const float* const weights =
          weights_.data() + (head * outputs_ + o) / products_.outputs * panel_size;
      products_.multiply(sums, inputs_, weights, static_cast<std::int32_t>(inputs_), queries,
                         result + o, heads_ * outputs_);
    }
    if (bias_.empty()) {
      continue;
    }
    const float* const bias = bias_.data() + head * outputs_;
    for (std::int32_t query = 0; query < queries; ++query) {
      const float* const weights = samples.weights + sample_of(query);
      const float sum = std::accumulate(weights, weights + samples.count, 0.0F);
      float* const values = result + query * heads_ * outputs_;
      for (std::int64_t o = 0; o < outputs_; ++o) {
        values[o] += bias[o] * sum;
      }
    }
  }
}

}  // namespace instseg::queries
