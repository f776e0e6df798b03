#include "instseg/bundle.hpp"

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "bindings.hpp"
#include "bundle/engine_file.hpp"
#include "instseg/error.hpp"
#include "without_gil.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

constexpr std::array kDataTypes = {DataType::float32, DataType::float16, DataType::int32,
                                   DataType::int64, DataType::uint8};

// Named axes are their name, others their size.
py::tuple shape_tuple(const TensorSpec& tensor) {
  py::list shape;
  for (const Dimension& dimension : tensor.shape) {
    if (dimension.fixed()) {
      shape.append(dimension.size);
    } else {
      shape.append(dimension.name);
    }
  }
  return py::tuple(shape);
}

std::unique_ptr<TensorSpec> make_tensor(const std::string& name, const std::string& dtype,
                                        const py::sequence& shape) {
  const auto type =
      std::ranges::find_if(kDataTypes, [&](DataType t) { return dtype == to_string(t); });
  if (type == kDataTypes.end()) {
    throw Error(ErrorCode::invalid_argument,
                "tensor '" + name + "': unknown dtype '" + dtype + "'");
  }
  auto tensor = std::make_unique<TensorSpec>(TensorSpec{name, *type, {}});
  for (const py::handle size : shape) {
    if (py::isinstance<py::str>(size)) {
      tensor->shape.push_back({-1, size.cast<std::string>()});
    } else {
      tensor->shape.push_back({size.cast<std::int64_t>(), {}});
    }
  }
  return tensor;
}

const char* resize_name(const InputSpec& input) {
  return input.resize == InputSpec::Resize::stretch ? "stretch" : "keep_ratio";
}

// Sizes that the kind of resize does not have are 0 in C++ and None here.
template <int InputSpec::* size>
std::optional<int> known_size(const InputSpec& input) {
  return input.*size > 0 ? std::optional(input.*size) : std::nullopt;
}

const char* color_name(const InputSpec& input) {
  return input.color == InputSpec::Color::rgb ? "rgb" : "bgr";
}

const char* interpolation_name(const InputSpec& input) {
  return input.interpolation == InputSpec::Interpolation::linear ? "linear" : "cubic";
}

// The header of an engine file as a dict, by its keys.
py::dict read_engine(const py::object& path, bool verify) {
  const std::filesystem::path file = to_path(path);
  EngineFile engine;
  {
    const WithoutGil without_gil;
    engine = read_engine_file(file);
    if (verify) {
      verify_plan(engine);
    }
  }
  const EngineHeader& header = engine.header;
  py::list profiles;
  for (const auto& inputs : header.profiles) {
    py::dict profile;
    for (const auto& [name, range] : inputs) {
      py::dict shapes;
      shapes["min"] = range.min;
      shapes["opt"] = range.opt;
      shapes["max"] = range.max;
      profile[py::str(name)] = shapes;
    }
    profiles.append(profile);
  }
  py::dict result;
  result["backend"] = header.key.backend;
  result["backend_version"] = header.key.backend_version;
  result["sm"] = header.key.sm;
  result["precision"] = header.key.precision;
  result["stage"] = header.stage;
  result["onnx_sha256"] = header.key.onnx_sha256;
  result["source_sha256"] = header.source_sha256;
  result["profiles"] = profiles;
  result["builder_options"] =
      std::map(header.builder_options.begin(), header.builder_options.end());
  result["plan_bytes"] = engine.plan_bytes;
  result["plan_sha256"] = header.plan_sha256;
  return result;
}

}  // namespace

void bind_bundle(py::module_& module) {
  py::class_<TensorSpec>(module, "TensorSpec")
      .def(py::init(&make_tensor), py::arg("name"), py::arg("dtype"), py::arg("shape"))
      .def_readonly("name", &TensorSpec::name)
      .def_property_readonly("dtype",
                             [](const TensorSpec& tensor) { return to_string(tensor.dtype); })
      .def_property_readonly("shape", shape_tuple);

  py::class_<EngineSpec>(module, "EngineSpec")
      .def_readonly("file", &EngineSpec::file)
      .def_readonly("size", &EngineSpec::size)
      .def_property_readonly("backend", [](const EngineSpec& e) { return e.key.backend; })
      .def_property_readonly("backend_version",
                             [](const EngineSpec& e) { return e.key.backend_version; })
      .def_property_readonly("sm", [](const EngineSpec& e) { return e.key.sm; })
      .def_property_readonly("precision", [](const EngineSpec& e) { return e.key.precision; })
      .def_property_readonly("onnx_sha256", [](const EngineSpec& e) { return e.key.onnx_sha256; });

  py::class_<TypedStage>(module, "TypedStage")
      .def_readonly("precision", &TypedStage::precision)
      .def_readonly("file", &TypedStage::file)
      .def_readonly("sha256", &TypedStage::sha256)
      .def_readonly("source_sha256", &TypedStage::source_sha256)
      .def_property_readonly("weights_file", [](const TypedStage& typed) {
        return typed.weights_file.empty() ? std::nullopt : std::optional(typed.weights_file);
      });

  py::class_<StageSpec>(module, "StageSpec")
      .def(py::init([](std::string name, const py::object& file, std::vector<TensorSpec> inputs,
                       std::vector<TensorSpec> outputs) {
             return StageSpec{
                 std::move(name), to_path(file), {}, std::move(inputs), std::move(outputs)};
           }),
           py::arg("name"), py::arg("file"), py::arg("inputs"), py::arg("outputs"))
      .def_readonly("name", &StageSpec::name)
      .def_readonly("file", &StageSpec::file)
      .def_readonly("sha256", &StageSpec::sha256)
      .def_readonly("inputs", &StageSpec::inputs)
      .def_readonly("outputs", &StageSpec::outputs)
      .def_readonly("engines", &StageSpec::engines)
      .def_readonly("typed", &StageSpec::typed);

  py::class_<InputSpec>(module, "InputSpec")
      .def_property_readonly("resize", resize_name)
      .def_property_readonly("height", known_size<&InputSpec::height>)
      .def_property_readonly("width", known_size<&InputSpec::width>)
      .def_property_readonly("short_side", known_size<&InputSpec::short_side>)
      .def_property_readonly("long_side", known_size<&InputSpec::long_side>)
      .def_readonly("pad_stride", &InputSpec::pad_stride)
      .def_property_readonly("color", color_name)
      .def_property_readonly("interpolation", interpolation_name)
      .def_readonly("normalize_first", &InputSpec::normalize_first)
      .def_readonly("scale", &InputSpec::scale)
      .def_property_readonly("mean",
                             [](const InputSpec& input) { return py::tuple(py::cast(input.mean)); })
      .def_property_readonly("std",
                             [](const InputSpec& input) { return py::tuple(py::cast(input.std)); });

  py::class_<BatchSpec>(module, "BatchSpec")
      .def_readonly("min", &BatchSpec::min)
      .def_readonly("opt", &BatchSpec::opt)
      .def_readonly("max", &BatchSpec::max);

  py::class_<BundleInfo>(module, "BundleInfo")
      .def_readonly("path", &BundleInfo::path)
      .def_readonly("model", &BundleInfo::model)
      .def_readonly("family", &BundleInfo::family)
      .def_readonly("labels", &BundleInfo::labels)
      .def_readonly("category_ids", &BundleInfo::category_ids)
      .def_readonly("input", &BundleInfo::input)
      .def_readonly("batch", &BundleInfo::batch)
      .def_readonly("stages", &BundleInfo::stages)
      .def_readonly("decode", &BundleInfo::decode)
      .def_readonly("threshold", &BundleInfo::threshold)
      .def_readonly("default_precision", &BundleInfo::default_precision)
      .def_readonly("provenance", &BundleInfo::provenance)
      .def_readonly("verification", &BundleInfo::verification)
      .def("__repr__", [](const BundleInfo& info) {
        return "<BundleInfo " + info.model + ", " + std::to_string(info.labels.size()) +
               " classes, " + info.path.string() + ">";
      });

  module.def("read_engine", read_engine, py::arg("path"), py::arg("verify") = false);
  module.def(
      "load_bundle",
      [](const py::object& path) {
        const std::filesystem::path folder = to_path(path);
        const WithoutGil without_gil;
        return load_bundle(folder);
      },
      py::arg("path"));
}

}  // namespace instseg::bindings
