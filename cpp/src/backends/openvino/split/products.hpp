// The change of a graph to split products.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <openvino/op/matmul.hpp>

#include "backends/openvino/split/kernels.hpp"

namespace instseg::split {

// Replaces a product with a constant matrix, with the bias and the activation behind it, where that
// is faster. Whether it did.
bool replace_product(const std::shared_ptr<ov::op::v0::MatMul>& product, const Kernels& kernels);

// Those of a graph whose results are large. Returns how many.
int replace_large_products(const std::shared_ptr<ov::Model>& model, const Kernels& kernels);

}  // namespace instseg::split
