// What results say of their instances, as arrays. Of every kind of instance.
#pragma once

#include <pybind11/numpy.h>

#include <span>

#include "instseg/result.hpp"

namespace instseg::bindings {

template <class AnyInstance>
pybind11::array_t<float> boxes_array(std::span<const AnyInstance> instances) {
  pybind11::array_t<float> array({std::ssize(instances), pybind11::ssize_t{4}});
  float* out = array.mutable_data();
  for (const AnyInstance& instance : instances) {
    for (const float value : {instance.box.x1, instance.box.y1, instance.box.x2, instance.box.y2}) {
      *out++ = value;
    }
  }
  return array;
}

template <class AnyInstance>
pybind11::array_t<float> scores_array(std::span<const AnyInstance> instances) {
  pybind11::array_t<float> array(std::ssize(instances));
  float* out = array.mutable_data();
  for (const AnyInstance& instance : instances) {
    *out++ = instance.score;
  }
  return array;
}

template <class AnyInstance>
pybind11::array_t<std::int32_t> class_ids_array(std::span<const AnyInstance> instances) {
  pybind11::array_t<std::int32_t> array(std::ssize(instances));
  std::int32_t* out = array.mutable_data();
  for (const AnyInstance& instance : instances) {
    *out++ = instance.class_id;
  }
  return array;
}

inline pybind11::dict timings_dict(const Timings& timings) {
  pybind11::dict entry;
  entry["preprocess_ms"] = timings.preprocess_ms;
  entry["inference_ms"] = timings.inference_ms;
  entry["postprocess_ms"] = timings.postprocess_ms;
  entry["total_ms"] = timings.total_ms;
  entry["batch"] = timings.batch;
  return entry;
}

}  // namespace instseg::bindings
