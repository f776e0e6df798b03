#include "dlpack.hpp"

#include <pybind11/stl.h>

#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "instseg/error.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

constexpr int kMaxAxes = 64;

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "DLPack: " + what);
}

// The structure of the capsule, which from now on is ours; `used`: the name that says so.
template <class Structure>
std::shared_ptr<Structure> take(PyObject* capsule, const char* name, const char* used) {
  auto* const managed = static_cast<Structure*>(PyCapsule_GetPointer(capsule, name));
  if (managed == nullptr || PyCapsule_SetName(capsule, used) != 0) {
    throw py::error_already_set();
  }
  return {managed, [](Structure* owned) {
            if (owned->deleter != nullptr) {
              owned->deleter(owned);
            }
          }};
}

std::shared_ptr<const dlpack::Tensor> take_tensor(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, "dltensor") != 0) {
    const auto managed = take<dlpack::Managed>(capsule, "dltensor", "used_dltensor");
    return {managed, &managed->tensor};
  }
  if (PyCapsule_IsValid(capsule, "dltensor_versioned") != 0) {
    const auto managed =
        take<dlpack::ManagedVersioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
    if (managed->major != dlpack::kMajor) {
      fail("found version " + std::to_string(managed->major) + ", expected " +
           std::to_string(dlpack::kMajor));
    }
    return {managed, &managed->tensor};
  }
  fail("expected a capsule 'dltensor' that was not used yet, found " +
       py::repr(py::handle(capsule)).cast<std::string>());
}

std::string type_name(const dlpack::DataType& type) {
  constexpr const char* kNames[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const std::string code =
      type.code < std::size(kNames) ? kNames[type.code] : "type " + std::to_string(type.code) + " ";
  return code + std::to_string(type.bits) +
         (type.lanes == 1 ? "" : "x" + std::to_string(type.lanes));
}

std::vector<std::int64_t> numbers(const std::int64_t* values, int count) {
  return {values, values + count};
}

}  // namespace

DlpackTensor::DlpackTensor(const py::object& capsule) : tensor_(take_tensor(capsule.ptr())) {
  const dlpack::Tensor& found = tensor();
  if (found.ndim < 0 || found.ndim > kMaxAxes || (found.ndim > 0 && found.shape == nullptr)) {
    fail("the tensor has " + std::to_string(found.ndim) + " axes" +
         (found.shape == nullptr ? " and no shape" : ""));
  }
}

const dlpack::Tensor& DlpackTensor::tensor() const {
  if (!tensor_) {
    fail("the tensor was given back");
  }
  return *tensor_;
}

void bind_dlpack(py::module_& module) {
  py::class_<DlpackTensor>(module, "DlpackTensor")
      .def(py::init<const py::object&>(), py::arg("capsule"))
      .def("release", &DlpackTensor::release)
      .def_property_readonly("address",
                             [](const DlpackTensor& t) {
                               const dlpack::Tensor& found = t.tensor();
                               // A null pointer stays one, so that it can be told.
                               return found.data == nullptr
                                          ? std::uint64_t{0}
                                          : reinterpret_cast<std::uintptr_t>(found.data) +
                                                found.byte_offset;
                             })
      .def_property_readonly(
          "shape", [](const DlpackTensor& t) { return numbers(t.tensor().shape, t.tensor().ndim); })
      .def_property_readonly("strides",
                             [](const DlpackTensor& t) -> std::optional<std::vector<std::int64_t>> {
                               if (t.tensor().strides == nullptr) {
                                 return std::nullopt;
                               }
                               return numbers(t.tensor().strides, t.tensor().ndim);
                             })
      .def_property_readonly("dtype",
                             [](const DlpackTensor& t) { return type_name(t.tensor().dtype); })
      .def_property_readonly("device", [](const DlpackTensor& t) {
        return py::make_tuple(t.tensor().device.type, t.tensor().device.id);
      });
}

}  // namespace instseg::bindings
