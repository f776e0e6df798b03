#include "instseg/result.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "instseg/error.hpp"
#include "result_arrays.hpp"
#include "without_gil.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

py::ssize_t count(const Result& result) {
  return static_cast<py::ssize_t>(result.instances.size());
}

std::span<const Instance> instances(const Result& result) { return result.instances; }

py::list masks(const Result& result) {
  py::list list;
  for (const Instance& instance : result.instances) {
    list.append(py::cast(instance.mask));
  }
  return list;
}

py::array_t<bool> dense_masks(const Result& result) {
  py::array_t<bool> array(
      {count(result), py::ssize_t{result.image_height}, py::ssize_t{result.image_width}});
  auto* out = reinterpret_cast<std::uint8_t*>(array.mutable_data());
  const auto size =
      static_cast<std::size_t>(result.image_height) * static_cast<std::size_t>(result.image_width);
  const WithoutGil without_gil;
  for (const Instance& instance : result.instances) {
    instance.mask.unpack({out, size}, result.image_height, result.image_width);
    out += size;
  }
  return array;
}

MaskFormat mask_format(const std::string& name) {
  if (name == "crop") return MaskFormat::crop;
  if (name == "rle") return MaskFormat::rle;
  throw Error(ErrorCode::invalid_argument, "mask_format is '" + name + "', expected crop or rle");
}

std::string json(const Result& result, const std::optional<std::string>& input_path,
                 std::optional<int> page_index, const std::vector<std::string>& labels,
                 const std::string& format, std::optional<int> indent) {
  JsonOptions options;
  options.input_path = input_path;
  options.page_index = page_index;
  options.labels = labels;
  options.mask_format = mask_format(format);
  options.indent = indent.value_or(-1);
  return to_json(result, options);
}

}  // namespace

void bind_result(py::module_& module) {
  py::class_<Result>(module, "Result")
      .def_readonly("height", &Result::image_height)
      .def_readonly("width", &Result::image_width)
      .def_property_readonly("timings", [](const Result& r) { return timings_dict(r.timings); })
      .def_property_readonly("boxes", [](const Result& r) { return boxes_array(instances(r)); })
      .def_property_readonly("scores", [](const Result& r) { return scores_array(instances(r)); })
      .def_property_readonly("class_ids",
                             [](const Result& r) { return class_ids_array(instances(r)); })
      .def_property_readonly("masks", masks)
      .def("dense_masks", dense_masks)
      .def("__len__", [](const Result& result) { return result.instances.size(); })
      .def("to_json", json, py::arg("input_path"), py::arg("page_index"), py::arg("labels"),
           py::arg("mask_format") = "crop", py::arg("indent") = py::none());
}

}  // namespace instseg::bindings
