// Small graphs for the tests of their changes, and what OpenVINO computes of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>
#include <random>
#include <string>
#include <vector>

namespace instseg::graphs {

namespace opset = ov::opset13;
using Value = ov::Output<ov::Node>;

inline std::shared_ptr<ov::Node> random_constant(const ov::Shape& shape, float scale) {
  std::mt19937 generator(static_cast<unsigned>(ov::shape_size(shape)));
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(ov::shape_size(shape));
  std::ranges::generate(values, [&] { return normal(generator); });
  return opset::Constant::create(ov::element::f32, shape, values);
}

struct Settings {
  std::size_t kernel = 3;
  std::size_t stride = 1;
  std::size_t dilation = 1;
  std::ptrdiff_t border = 1;
};

inline Value convolution(const Value& input, std::size_t inputs, std::size_t outputs,
                         const Settings& s = {}) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(inputs * s.kernel * s.kernel));
  return std::make_shared<opset::Convolution>(
      input, random_constant({outputs, inputs, s.kernel, s.kernel}, scale),
      ov::Strides{s.stride, s.stride}, ov::CoordinateDiff{s.border, s.border},
      ov::CoordinateDiff{s.border, s.border}, ov::Strides{s.dilation, s.dilation});
}

inline Value with_bias(const Value& value, std::size_t outputs) {
  return std::make_shared<opset::Add>(value, random_constant({1, outputs, 1, 1}, 1.0F));
}

inline Value relu(const Value& value) { return std::make_shared<opset::Relu>(value); }

inline Value silu(const Value& value) {
  return std::make_shared<opset::Multiply>(value, std::make_shared<opset::Sigmoid>(value));
}

inline Value sum(const Value& a, const Value& b) { return std::make_shared<opset::Add>(a, b); }

// Operations of a type.
inline int count(const ov::Model& model, const std::string& type) {
  int found = 0;
  for (const std::shared_ptr<ov::Node>& node : model.get_ordered_ops()) {
    found += node->get_type_name() == type ? 1 : 0;
  }
  return found;
}

// What one network gives for each of the inputs.
inline std::vector<std::vector<ov::Tensor>> infer_all(const std::shared_ptr<ov::Model>& model,
                                                      const std::vector<ov::Tensor>& inputs) {
  static ov::Core& core = *std::make_unique<ov::Core>().release();
  ov::CompiledModel network =
      core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
  ov::InferRequest request = network.create_infer_request();
  std::vector<std::vector<ov::Tensor>> results;
  for (const ov::Tensor& input : inputs) {
    request.set_input_tensor(input);
    request.infer();
    std::vector<ov::Tensor>& kept = results.emplace_back();
    for (std::size_t i = 0; i < model->outputs().size(); ++i) {
      const ov::Tensor found = request.get_output_tensor(i);
      found.copy_to(kept.emplace_back(found.get_element_type(), found.get_shape()));
    }
  }
  return results;
}

inline std::vector<ov::Tensor> infer(const std::shared_ptr<ov::Model>& model,
                                     const ov::Tensor& input) {
  return infer_all(model, {input}).front();
}

inline ov::Tensor random_tensor(const ov::Shape& shape) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  ov::Tensor tensor(ov::element::f32, shape);
  std::generate_n(tensor.data<float>(), tensor.get_size(), [&] { return normal(generator); });
  return tensor;
}

inline void expect_close(const std::vector<ov::Tensor>& found,
                         const std::vector<ov::Tensor>& expected, float tolerance = 1e-5F) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].get_shape(), expected[i].get_shape()) << "output " << i;
    float worst = 0;
    float scale = 0;
    for (std::size_t k = 0; k < found[i].get_size(); ++k) {
      const float value = expected[i].data<const float>()[k];
      worst = std::max(worst, std::abs(found[i].data<const float>()[k] - value));
      scale = std::max(scale, std::abs(value));
    }
    EXPECT_LT(worst, tolerance * scale) << "output " << i;
  }
}

}  // namespace instseg::graphs
