// instseg_rt._core: the C++ library for Python. python/instseg_rt/_core.pyi is its description.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "bindings.hpp"
#include "instseg/error.hpp"
#include "instseg/predictor.hpp"
#include "instseg/version.hpp"
#include "pending_exception.hpp"
#include "without_gil.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

struct ErrorClass {
  ErrorCode code;
  const char* name;       // of the Python class
  const char* code_name;  // its `code`
};

constexpr std::array kErrorClasses = {
    ErrorClass{ErrorCode::invalid_argument, "InvalidArgumentError", "invalid_argument"},
    ErrorClass{ErrorCode::io, "IoError", "io"},
    ErrorClass{ErrorCode::bad_bundle, "BadBundleError", "bad_bundle"},
    ErrorClass{ErrorCode::incompatible_engine, "IncompatibleEngineError", "incompatible_engine"},
    ErrorClass{ErrorCode::unsupported, "UnsupportedError", "unsupported"},
    ErrorClass{ErrorCode::out_of_memory, "OutOfMemoryError", "out_of_memory"},
    ErrorClass{ErrorCode::backend, "BackendError", "backend"},
    ErrorClass{ErrorCode::internal, "InternalError", "internal"},
};

// The Python classes, in the order of kErrorClasses; they live as long as the interpreter.
std::array<PyObject*, kErrorClasses.size()>& python_classes() {
  static std::array<PyObject*, kErrorClasses.size()> classes{};
  return classes;
}

void translate(std::exception_ptr pending) {
  try {
    std::rethrow_exception(pending);
  } catch (const Error& error) {
    for (std::size_t i = 0; i < kErrorClasses.size(); ++i) {
      if (kErrorClasses[i].code == error.code()) {
        set_python_error(python_classes()[i], error.what());
        return;
      }
    }
    set_python_error(PyExc_RuntimeError, error.what());
  }
}

// Wheels keep the libraries of a backend inside a package of theirs. Where it lies in another
// site-packages folder than this module, the plug-in's own search path does not reach it.
void hint_wheel(const char* backend, const char* package, const char* subfolder) {
  const py::object spec = py::module_::import("importlib.util").attr("find_spec")(package);
  if (spec.is_none() || spec.attr("submodule_search_locations").is_none()) {
    return;
  }
  for (const py::handle folder : spec.attr("submodule_search_locations")) {
    set_library_hint(backend, std::filesystem::path(folder.cast<std::string>()) / subfolder);
  }
}

py::dict device_dict(const std::string& backend, const std::string& device) {
  const DeviceInfo info = describe_device(backend, device);
  py::dict entry;
  entry["name"] = info.name;
  entry["sm"] = info.sm;
  entry["memory_bytes"] = info.memory_bytes;
  entry["driver"] = info.driver;
  entry["runtime"] = info.runtime;
  return entry;
}

py::list list_backends() {
  py::list list;
  for (const BackendInfo& info : backends()) {
    py::dict entry;
    entry["name"] = info.name;
    entry["path"] = info.path.empty() ? py::none() : py::object(py::str(info.path.string()));
    entry["available"] = info.available;
    entry["version"] = info.available ? py::object(py::str(info.version)) : py::none();
    entry["error"] = info.available ? py::none() : py::object(py::str(info.error));
    list.append(entry);
  }
  return list;
}

py::dict cuda_ops_dict() {
  const CudaOpsInfo info = cuda_ops();
  py::dict entry;
  entry["path"] = info.path.empty() ? py::none() : py::object(py::str(info.path.string()));
  entry["available"] = info.available;
  entry["error"] = info.available ? py::none() : py::object(py::str(info.error));
  return entry;
}

}  // namespace

std::filesystem::path to_path(const py::object& path) {
  return py::module_::import("os").attr("fsdecode")(path).cast<std::string>();
}

void bind_errors(py::module_& module) {
  const py::object base = py::reinterpret_steal<py::object>(PyErr_NewExceptionWithDoc(
      "instseg_rt._core.Error", "Any error of instseg_rt.", PyExc_RuntimeError, nullptr));
  base.attr("code") = py::none();
  module.attr("Error") = base;
  for (std::size_t i = 0; i < kErrorClasses.size(); ++i) {
    const std::string name = std::string("instseg_rt._core.") + kErrorClasses[i].name;
    PyObject* const created = PyErr_NewException(name.c_str(), base.ptr(), nullptr);
    const auto python_class = py::reinterpret_borrow<py::object>(created);
    python_class.attr("code") = kErrorClasses[i].code_name;
    module.attr(kErrorClasses[i].name) = python_class;
    python_classes()[i] = created;
  }
  py::register_exception_translator(translate);
}

}  // namespace instseg::bindings

PYBIND11_MODULE(_core, module) {
  using namespace instseg::bindings;
  module.doc() = "The C++ runtime of instseg_rt.";
  bind_errors(module);
  bind_bundle(module);
  bind_mask(module);
  bind_result(module);
  bind_gpu_result(module);
  bind_dlpack(module);
  bind_predictor(module);
  bind_session(module);
  bind_python_backend(module);
  module.def("version", [] { return instseg::version(); });
  module.def("backends", list_backends);
  module.def(
      "set_library_hint",
      [](const std::string& backend, const py::object& folder) {
        instseg::set_library_hint(backend, to_path(folder));
      },
      py::arg("backend"), py::arg("folder"));
  module.def("describe_device", device_dict, py::arg("backend"), py::arg("device"));
  module.def("cuda_ops", cuda_ops_dict);
  hint_wheel("openvino", "openvino", "libs");
  hint_wheel("tensorrt", "tensorrt_libs", "");
  hint_wheel("tensorrt_rtx", "tensorrt_rtx_libs", "");
  wait_for_calls_at_exit();
}
