// What the plug-in's own operations of OpenVINO's graphs share.
#pragma once

#include <cstdint>
#include <openvino/core/attribute_visitor.hpp>
#include <openvino/runtime/tensor.hpp>
#include <string>

namespace instseg::openvino_backend {

// The shape of a result, where it is not what the tensor has already.
inline void reshape(ov::Tensor& tensor, const ov::Shape& shape) {
  if (tensor.get_shape() != shape) {
    tensor.set_shape(shape);
  }
}

// OpenVINO computes operations once that take the same values and have the same attributes. Which
// object it computes with tells one of ours apart from another.
inline void visit_identity(ov::AttributeVisitor& visitor, const std::string& name,
                           const void* object) {
  auto identity = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(object));
  visitor.on_attribute(name, identity);
}

}  // namespace instseg::openvino_backend
