// What tests of the OpenVINO plug-in's own convolutions share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <random>
#include <vector>

#include "backends/openvino/winograd/convolution.hpp"
#include "core/parallel.hpp"

namespace instseg::test {

class Threads : public winograd::Parallel {
 public:
  explicit Threads(int count) : pool_(count) {}
  [[nodiscard]] int threads() const override { return pool_.threads(); }
  void run(int count, const std::function<void(int)>& body) const override {
    pool_.parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        body(static_cast<int>(i));
      }
    });
  }

 private:
  mutable ThreadPool pool_;
};

inline std::vector<float> random_values(std::size_t count, float scale, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return normal(generator); });
  return values;
}

inline double activated(double y, winograd::Activation activation) {
  switch (activation) {
    case winograd::Activation::relu:
      return std::max(y, 0.0);
    case winograd::Activation::silu:
      return y / (1.0 + std::exp(-y));
    case winograd::Activation::none:
      break;
  }
  return y;
}

}  // namespace instseg::test
